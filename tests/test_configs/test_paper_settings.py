"""The numbers of the paper, each with the section that has it."""

import pytest
from kit.configs import (
    DETECTORS,
    METRICS,
    NAMES,
    SEARCHES,
    for_each,
    read_config,
)

from detnas_mm.cost import backbone_macs
from detnas_mm.models import resolve_architecture


@for_each([name for name in NAMES if '_in1k' in name])
def test_pre_training(name):
    """Section 4, supernet pre-training, and the retraining alike."""
    config = read_config(name)
    # 1024 images on 8 GPUs, 300k iterations.
    assert config.train_dataloader.batch_size == 1024 // 8
    assert config.auto_scale_lr.base_batch_size == 1024
    assert config.train_cfg.max_iters == 300_000
    assert not config.train_cfg.by_epoch
    # Learning rate 0.5, falling linearly to 0.
    assert config.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.5, momentum=0.9, weight_decay=4e-5
    )
    assert config.param_scheduler == dict(
        type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, end=300_000
    )
    # The authors' code: label smoothing, classifier of 1024 channels.
    assert config.model.head.loss.type == 'LabelSmoothLoss'
    assert config.model.head.loss.label_smooth_val == 0.1
    assert config.model.head.in_channels == 1024


# Section 4: "1x" is 90k iterations on COCO and 22.5k on VOC, with steps;
# DetNAS-scratch (Section 5.2) and "2x" (supplement) have twice as many.
SCHEDULES = {
    '1x_coco': (90_000, [60_000, 80_000]),
    '2x_coco': (180_000, [120_000, 160_000]),
    '1x_voc0712': (22_500, [15_000, 20_000]),
    '2x_voc0712': (45_000, [30_000, 40_000]),
}


@for_each(DETECTORS)
def test_detector_training(name):
    """Section 4: FPN and RetinaNet, the supernet's fine-tuning alike."""
    config = read_config(name)
    # 16 images on 8 GPUs.
    assert config.train_dataloader.batch_size == 16 // 8
    assert config.auto_scale_lr.base_batch_size == 16
    schedule = name.partition('_fpn_')[2]
    iterations, milestones = SCHEDULES[schedule]
    assert config.train_cfg.max_iters == iterations
    warm_up, steps = config.param_scheduler
    assert steps.milestones == milestones
    assert (steps.end, steps.gamma) == (iterations, 0.1)
    # The authors' code: warm-up of 500 iterations from a third.
    assert (warm_up.type, warm_up.end) == ('LinearLR', 500)
    assert warm_up.start_factor == pytest.approx(1 / 3)
    assert not warm_up.by_epoch
    assert not steps.by_epoch
    # Learning rates 0.02 and, for RetinaNet, 0.01.
    learning_rate = 0.01 if 'retinanet' in name else 0.02
    assert config.optim_wrapper.optimizer == dict(
        type='SGD', lr=learning_rate, momentum=0.9, weight_decay=1e-4
    )
    # 800 pixels for the short side, at most 1333 for the long one.
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        for part in dataset.get('datasets', [dataset]):
            sizes = [s.scale for s in part.pipeline if s.type == 'Resize']
            assert sizes == [(1333, 800)]
    # Section 5.2: the supernets of DetNAS-scratch train for twice as long.
    if 'scratch-supernet' in name or 'scratch-search' in name:
        assert schedule.startswith('2x')
    elif 'supernet' in name or 'search' in name or 'scratch' in name:
        assert schedule.startswith('1x')


@for_each(SEARCHES)
def test_search(name):
    """Section 4, architecture search, and Section 3.4."""
    config = read_config(name)
    # 300M multiply-adds of the backbone, at 224 x 224. All else is default.
    assert config.val_cfg == dict(
        type='detnas_mm.EvolutionSearchLoop',
        metric=METRICS[name.rpartition('_')[2]],
        constraint=dict(max_macs=300e6 if '-small_' in name else 1.3e9),
    )
    # BN statistics from 500 training images (Section 3.2, Step 3).
    (hook,) = (h for h in config.custom_hooks if 'num_images' in h)
    assert hook.num_images == 500


def test_large_space():
    """Table 1: widths of the large search space."""
    config = read_config('detnas/detnas-supernet-large_8xb128_in1k')
    assert config.model.backbone.search_space == 'large'
    assert config.model.neck.in_channels == 960


@for_each(
    [
        ('shufflenetv2-20', 300e6),
        ('shufflenetv2-40-1.3g', 'detnasnet-1.3g'),
        ('shufflenetv2-40-3.8g', 'detnasnet-3.8g'),
    ]
)
def test_baselines_cost_as_much_as_the_searched_net(case):
    """Sections 5.1 and 5.2: scaled to the same FLOPs, all blocks 3x3."""
    name, macs = case
    net = architecture(f'baselines/{name}_8xb128_in1k')
    if isinstance(macs, str):
        searched = architecture(f'detnas/{macs}_8xb128_in1k')
        macs = backbone_macs(searched.search_space, searched.path)
        blocks = searched.search_space.stage_blocks
        assert net.search_space.stage_blocks == blocks
    else:
        # "Similar and under 300M".
        assert backbone_macs(net.search_space, net.path) <= macs
    counted = backbone_macs(net.search_space, net.path)
    assert counted == pytest.approx(macs, rel=0.01)
    assert set(net.path) == {0}
    assert net.search_space.choices[0] == 'shuffle_3x3'
    assert len(net.path) == int(name.split('-')[1])


def architecture(name):
    backbone = read_config(name).model.backbone
    return resolve_architecture(backbone.path, backbone.get('search_space'))
