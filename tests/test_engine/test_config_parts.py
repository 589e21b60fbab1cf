"""Names and settings of a config are checked before anything is built."""

import pytest
from kit.configs import NAMES, read_config
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from detnas_mm.engine.config_parts import evaluators_of, require_known_parts

NET = 'digits/retinanet_detnas-tiny_fpn_digits'
SEARCH = 'digits/retinanet_detnas-tiny-search-30m_fpn_digits'
PARTS = ('train', 'val')


@pytest.fixture
def config():
    return Config(read_config(NET).to_dict())


def line_of(config):
    with pytest.raises(ValueError, match='.') as caught:
        require_known_parts(config, PARTS)
    return str(caught.value)


@pytest.mark.parametrize('name', NAMES)
def test_nothing_is_said_of_the_configs_of_this_repository(name):
    config = Config(read_config(name).to_dict())
    require_known_parts(config, PARTS)
    assert config.to_dict() == read_config(name).to_dict()


@pytest.mark.parametrize(
    ('key', 'value', 'line'),
    [
        (
            'val_evaluator.type',
            'CocoMetrics',
            "'CocoMetrics' is not in the registry metric: did you mean "
            'CocoMetric or ',
        ),
        (
            'val_evaluator.metrics',
            'bbox',
            "CocoMetric has no setting 'metrics'; did you mean metric?",
        ),
        (
            'train_dataloader.dataset.type',
            'CocoDatset',
            "'CocoDatset' is not in the registry dataset: did you mean "
            'CocoDataset or ',
        ),
        (
            'train_dataloader.sampler.shufle',
            True,
            "DefaultSampler has no setting 'shufle'; did you mean shuffle?",
        ),
        (
            'train_dataloader.dataset.pipeline.0.type',
            'LoadImage',
            "'LoadImage' is not in the registry transform: did you mean ",
        ),
        (
            'val_dataloader.dataset.pipeline.1.scal',
            8,
            "Resize has no setting 'scal'; did you mean scale?",
        ),
        (
            'default_hooks.logger.intervall',
            1,
            "LoggerHook has no setting 'intervall'; did you mean interval?",
        ),
        (
            'visualizer.vis_backends.0.type',
            'TensorboardBackend',
            "'TensorboardBackend' is not in the registry vis_backend: did "
            'you mean TensorboardVisBackend',
        ),
        (
            'train_cfg.max_epoch',
            3,
            "EpochBasedTrainLoop has no setting 'max_epoch'; did you mean "
            'max_epochs?',
        ),
        (
            'param_scheduler.0.enddd',
            3,
            "LinearLR has no setting 'enddd'; did you mean end?",
        ),
        (
            'optim_wrapper.optimizer.type',
            'SDG',
            "'SDG' is not in the registry optimizer: did you mean SGD",
        ),
        (
            'optim_wrapper.optimizer.momentun',
            0.9,
            "SGD has no setting 'momentun'; did you mean momentum?",
        ),
        (
            'optim_wrapper.type',
            'AmpOptimWraper',
            "'AmpOptimWraper' is not in the registry optim_wrapper: did you "
            'mean AmpOptimWrapper',
        ),
        (
            'optim_wrapper.clip_gradd',
            1,
            "OptimWrapper has no setting 'clip_gradd'; did you mean "
            'clip_grad?',
        ),
        (
            'train_dataloader.batchsize',
            8,
            "DataLoader has no setting 'batchsize'; did you mean batch_size?",
        ),
        (
            'custom_hooks',
            ["dict(type='EMAHook')"],
            '`custom_hooks` must be a list of hooks, got ',
        ),
        (
            'train_dataloader.dataset',
            ['one'],
            "`train_dataloader.dataset` must be a dict, got ['one']",
        ),
    ],
)
def test_slip(config, key, value, line):
    config.merge_from_dict({key: value})
    assert line_of(config).startswith(line)


def test_parts_that_are_not_needed_may_be_wrong(config):
    config.test_evaluator = dict(type='CocoMetrics')
    config.test_cfg = dict(type='Loop')
    require_known_parts(config, PARTS)
    require_known_parts(config, ('train',))


def test_names_of_ours(config):
    config.custom_hooks = [dict(type='detnas_mm.BNRecalibratonHook')]
    assert 'did you mean detnas_mm.BNRecalibrationHook' in line_of(config)
    config.custom_hooks = [dict(type='EMAHook')]
    require_known_parts(config, PARTS)
    config.val_cfg.type = 'detnas_mm.EvolutionLoop'
    assert 'EvolutionSearchLoop' in line_of(config)


def test_settings_of_ours(config):
    config.val_cfg = dict(
        type='detnas_mm.EvolutionSearchLoop', metric='x', generation=1
    )
    assert line_of(config) == (
        "EvolutionSearchLoop has no setting 'generation'; did you mean "
        'generations?'
    )
    config.val_cfg = dict(
        type='detnas_mm.EvolutionSearchLoop', metric='x', population='ten'
    )
    assert line_of(config) == (
        "`population` of EvolutionSearchLoop must be a whole number, got 'ten'"
    )
    config.val_cfg = dict(type='ValLoop')
    config.custom_hooks = [
        dict(type='detnas_mm.BNRecalibrationHook', colour=1, priority='LOW')
    ]
    assert "no setting 'colour'; it has " in line_of(config)


def test_names_are_those_of_the_library_that_the_config_is_for(config):
    settings = dict(optimizer=dict(type='Lamb'))
    for_classifiers = Config(
        dict(default_scope='mmpretrain', optim_wrapper=settings)
    )
    require_known_parts(for_classifiers, ('train',))
    config.optim_wrapper.optimizer = dict(type='Lamb')
    assert "'Lamb' is not in the registry optimizer" in line_of(config)


def test_a_part_may_have_a_scope_of_its_own(config):
    jitter = dict(type='ColorJitter', _scope_='mmpretrain')
    config.train_dataloader.dataset.pipeline.insert(1, jitter)
    config.custom_hooks = [
        dict(type='ClassNumCheckHook', _scope_='mmpretrain'),
        dict(type='mmpretrain.ClassNumCheckHook'),
    ]
    require_known_parts(config, PARTS)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(mutation_prob='abc'), 'a number'),
        (dict(generations=True), 'a whole number'),
        (dict(num_mutation='x'), 'a whole number or None'),
        (dict(race=7), 'True or False or a dict'),
        (dict(metric=5), 'text'),
        (dict(minimise='macs'), 'a list'),
        (dict(paths=12), 'a list'),
        (dict(constraint=5), 'a dict or None'),
        (dict(resume=1), 'True or False'),
    ],
)
def test_values_of_another_kind(config, settings, expected):
    loop = dict(type='detnas_mm.EvolutionSearchLoop', metric='x')
    config.val_cfg = loop | settings
    ((key, value),) = settings.items()
    assert line_of(config) == (
        f'`{key}` of EvolutionSearchLoop must be {expected}, got {value!r}'
    )


def test_own_classes_may_do_anything_with_further_settings(config):
    @METRICS.register_module()
    class OwnMetric(BaseMetric):
        def __init__(self, own=1, **kwargs):
            self.coco = METRICS.build(dict(type='mmdet.CocoMetric', **kwargs))

    try:
        config.val_evaluator = dict(type='OwnMetric', ann_file='x', metric='y')
        require_known_parts(config, PARTS)
    finally:
        METRICS.module_dict.pop('OwnMetric')


def test_evaluators_may_stand_in_one(config):
    metrics = [dict(type='CocoMetric'), dict(type='CocoMetrics')]
    config.val_evaluator = dict(type='Evaluator', metrics=metrics)
    assert evaluators_of(config, 'val') == metrics
    assert "'CocoMetrics' is not in the registry" in line_of(config)
    config.val_evaluator = dict(
        type='MultiDatasetsEvaluator',
        metrics=metrics[:1],
        dataset_prefixes=['one'],
    )
    assert evaluators_of(config, 'val') == metrics[:1]
    require_known_parts(config, PARTS)
    config.val_evaluator = metrics[:1]
    require_known_parts(config, PARTS)
