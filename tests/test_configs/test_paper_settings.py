"""The numbers of the paper, each with the section that has it."""

import pytest
from kit.digits_runs import CONFIGS
from mmengine.config import Config

SEARCHES = ['faster-rcnn_detnas-search', 'retinanet_detnas-search']
DETECTORS = [
    f'{detector}_detnas{kind}'
    for detector in ('faster-rcnn', 'retinanet')
    for kind in ('', '-supernet', '-search')
]


def detnas(name):
    return Config.fromfile(CONFIGS / 'detnas' / f'{name}.py')


@pytest.mark.parametrize('name', ['detnas-supernet-small', 'detnas-small'])
def test_pre_training(name):
    """Section 4, supernet pre-training, and the retraining alike."""
    config = detnas(f'{name}_8xb128_in1k')
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


@pytest.mark.parametrize('name', DETECTORS)
def test_detector_training(name):
    """Section 4: FPN and RetinaNet, the supernet's fine-tuning alike."""
    config = detnas(f'{name}-small_fpn_1x_coco')
    # 16 images on 8 GPUs, 90k iterations, steps at 60k and 80k.
    assert config.train_dataloader.batch_size == 16 // 8
    assert config.auto_scale_lr.base_batch_size == 16
    assert config.train_cfg.max_iters == 90_000
    warm_up, steps = config.param_scheduler
    assert steps.milestones == [60_000, 80_000]
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
    resize = [
        step.scale
        for step in config.train_dataloader.dataset.pipeline
        if step.type == 'Resize'
    ]
    assert resize == [(1333, 800)]


@pytest.mark.parametrize('name', SEARCHES)
def test_search(name):
    """Section 4, architecture search, and Section 3.4."""
    config = detnas(f'{name}-small_fpn_1x_coco')
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
    assert settings['constraint'] == dict(max_macs=300e6)
    # BN statistics from 500 training images (Section 3.2, Step 3).
    (hook,) = (h for h in config.custom_hooks if 'num_images' in h)
    assert hook.num_images == 500
    assert settings['metric'] == 'coco/bbox_mAP'


def default_settings():
    """Defaults of the search loop, which the configs leave as they are."""
    from inspect import signature

    from detnas_mm import EvolutionSearchLoop

    parameters = signature(EvolutionSearchLoop).parameters
    return {name: one.default for name, one in parameters.items()}


def test_large_space():
    """Table 1: widths of the large search space."""
    config = detnas('detnas-supernet-large_8xb128_in1k')
    assert config.model.backbone.search_space == 'large'
    assert config.model.neck.in_channels == 960
    small = detnas('detnas-supernet-small_8xb128_in1k')
    assert config.train_cfg == small.train_cfg
    assert config.optim_wrapper == small.optim_wrapper
