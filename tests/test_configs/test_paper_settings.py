"""The numbers of the paper, each with the section that has it."""

from inspect import signature

import pytest
from kit.configs import DETECTORS, NAMES, SEARCHES, read_config

from detnas_mm import EvolutionSearchLoop
from detnas_mm.cost import backbone_macs
from detnas_mm.models.backbones.detnas_net import resolve_architecture


@pytest.mark.parametrize('name', [n for n in NAMES if '_in1k' in n])
def test_pre_training(name):
    """Section 4, supernet pre-training, and the retraining alike."""
    config = read_config(name)
    # 1024 images on 8 GPUs, 300k iterations.
    assert config.train_dataloader.batch_size == 1024 // 8
    assert config.auto_scale_lr.base_batch_size == 1024
    assert config.train_cfg.max_iters == 300_000
    assert not config.train_cfg.by_epoch
    # Learning rate 0.5, falling linearly to 0.
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 0.5)
    assert optimizer.momentum == 0.9
    assert optimizer.weight_decay == 4e-5
    schedule = config.param_scheduler
    assert schedule.type == 'PolyLR'
    assert (schedule.power, schedule.eta_min) == (1.0, 0.0)
    assert schedule.end == 300_000
    assert not schedule.by_epoch
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


@pytest.mark.parametrize('name', DETECTORS)
def test_detector_training(name):
    """Section 4: FPN and RetinaNet, the supernet's fine-tuning alike."""
    config = read_config(name)
    # 16 images on 8 GPUs.
    assert config.train_dataloader.batch_size == 16 // 8
    assert config.auto_scale_lr.base_batch_size == 16
    iterations, milestones = SCHEDULES[name.partition('_fpn_')[2]]
    assert config.train_cfg.max_iters == iterations
    warm_up, steps = config.param_scheduler
    assert steps.end == iterations
    assert steps.milestones == milestones
    assert steps.gamma == 0.1
    assert not steps.by_epoch
    # The authors' code: warm-up of 500 iterations from a third.
    assert (warm_up.type, warm_up.end) == ('LinearLR', 500)
    assert warm_up.start_factor == pytest.approx(1 / 3)
    assert not warm_up.by_epoch
    # Learning rates 0.02 and, for RetinaNet, 0.01.
    optimizer = config.optim_wrapper.optimizer
    assert optimizer.lr == (0.01 if 'retinanet' in name else 0.02)
    assert optimizer.momentum == 0.9
    assert optimizer.weight_decay == 1e-4
    # 800 pixels for the short side, at most 1333 for the long one.
    for split in ('train', 'val', 'test'):
        dataset = config[f'{split}_dataloader'].dataset
        for one in dataset.get('datasets', [dataset]):
            sizes = [s.scale for s in one.pipeline if s.type == 'Resize']
            assert sizes == [(1333, 800)]


@pytest.mark.parametrize('name', DETECTORS)
def test_only_scratch_supernets_train_for_longer_than_their_nets(name):
    """Section 5.2: all other settings of DetNAS-scratch are the same."""
    if 'scratch-supernet' in name or 'scratch-search' in name:
        assert '_2x_' in name
    elif 'supernet' in name or 'search' in name or 'scratch' in name:
        assert '_1x_' in name


METRICS = {
    'coco': 'coco/bbox_mAP',
    'voc0712': 'pascal_voc/mAP',
    'in1k': 'accuracy/top1',
}


@pytest.mark.parametrize('name', SEARCHES)
def test_search(name):
    """Section 4, architecture search, and Section 3.4."""
    config = read_config(name)
    settings = default_settings() | dict(config.val_cfg)
    assert settings['population'] == 50
    assert settings['parents'] == 10
    assert settings['generations'] == 20
    assert settings['mutation_prob'] == 0.1
    # Half mutation, half crossover.
    assert settings['num_mutation'] is None
    assert settings['num_crossover'] is None
    assert settings['num_random'] == 0
    # 300M multiply-adds of the backbone, at 224 x 224.
    most = 300e6 if '-small_' in name else 1.3e9
    assert settings['constraint'] == dict(max_macs=most)
    # BN statistics from 500 training images (Section 3.2, Step 3).
    (hook,) = (h for h in config.custom_hooks if 'num_images' in h)
    assert hook.num_images == 500
    assert settings['metric'] == METRICS[name.rpartition('_')[2]]


def default_settings():
    """Defaults of the search loop, which the configs leave as they are."""
    parameters = signature(EvolutionSearchLoop).parameters
    return {name: one.default for name, one in parameters.items()}


def test_large_space():
    """Table 1: widths of the large search space."""
    config = read_config('detnas/detnas-supernet-large_8xb128_in1k')
    assert config.model.backbone.search_space == 'large'
    assert config.model.neck.in_channels == 960
    small = read_config('detnas/detnas-supernet-small_8xb128_in1k')
    assert config.train_cfg == small.train_cfg
    assert config.optim_wrapper == small.optim_wrapper


def architecture(name):
    backbone = read_config(name).model.backbone
    return resolve_architecture(backbone.path, backbone.get('search_space'))


@pytest.mark.parametrize(
    ('name', 'compared_with'),
    [
        ('shufflenetv2-20', 300e6),
        ('shufflenetv2-40-1.3g', 'detnasnet-1.3g'),
        ('shufflenetv2-40-3.8g', 'detnasnet-3.8g'),
    ],
)
def test_baselines_cost_what_they_are_compared_with(name, compared_with):
    """Sections 5.1 and 5.2: scaled to the same FLOPs, all blocks 3x3."""
    net = architecture(f'baselines/{name}_8xb128_in1k')
    macs = backbone_macs(net.search_space, net.path)
    if isinstance(compared_with, str):
        other = architecture(f'detnas/{compared_with}_8xb128_in1k')
        assert net.search_space.stage_blocks == other.search_space.stage_blocks
        compared_with = backbone_macs(other.search_space, other.path)
    else:
        # "Similar and under 300M".
        assert macs <= compared_with
    assert macs == pytest.approx(compared_with, rel=0.01)
    assert set(net.path) == {0}
    assert net.search_space.choices[0] == 'shuffle_3x3'
    assert len(net.path) == int(name.split('-')[1])


def test_clsnasnet_is_searched_on_training_images():
    """Not on ImageNet's validation set, on which it is reported."""
    config = read_config('detnas/clsnas-search-small_8xb128_in1k')
    train, search, test = (
        config[f'{split}_dataloader'].dataset
        for split in ('train', 'val', 'test')
    )
    assert (train.split, train.ann_file) == ('train', 'meta/detnas_train.txt')
    assert search.split == 'train'
    assert search.ann_file == 'meta/detnas_search.txt'
    assert test.split == 'val'
    assert 'ann_file' not in test
    # Searched images are seen as those of the test.
    assert search.pipeline == test.pipeline
    # The net that is found trains on all images, and is tested on val.
    net = read_config('detnas/clsnas-small_8xb128_in1k')
    for split, folder in (('train', 'train'), ('val', 'val')):
        dataset = net[f'{split}_dataloader'].dataset
        assert dataset.split == folder
        assert 'ann_file' not in dataset
