"""What a search needs is checked without a Runner, and without its data."""

import pytest
from kit.configs import read_config
from mmengine.config import Config

from detnas_mm.compat import setup_compat
from detnas_mm.engine.runner.search_loop import require_search_settings
from detnas_mm.engine.search_checks import require_coco_metrics
from detnas_mm.models import build_model, find_supernet

SEARCH = 'digits/retinanet_detnas-search-tiny_fpn_digits'


@pytest.fixture
def config():
    setup_compat()
    return Config(read_config(SEARCH).to_dict())


@pytest.fixture(scope='module')
def supernet():
    setup_compat()
    return find_supernet(build_model(read_config(SEARCH)))


@pytest.mark.parametrize(
    ('evaluator', 'metric'),
    [
        ({}, 'coco/bbox_mAP_s'),
        (dict(prefix=None), 'coco/bbox_mAP'),
        (dict(metric=['bbox', 'proposal_fast']), 'coco/AR@100'),
        (dict(type='mmdet.DODCocoMetric'), 'd3/FULL_mAP'),
    ],
)
def test_metric_that_the_evaluator_gives(config, supernet, evaluator, metric):
    config.val_evaluator.update(evaluator)
    config.val_cfg.metric = metric
    require_coco_metrics(config)


def test_metric_that_it_does_not_give(config, supernet):
    config.val_cfg.metric = 'coco/bbox_map'
    with pytest.raises(ValueError, match='did you mean coco/bbox_mAP'):
        require_coco_metrics(config)


def test_settings_of_the_configs_are_right(config, supernet):
    require_search_settings(config.val_cfg, supernet)


@pytest.mark.parametrize(
    ('settings', 'part'),
    [
        (dict(generations=0), '`generations`'),
        (dict(parents=100), '`parents`'),
        (dict(seed=-1), '`seed`'),
        (dict(chunk=0), '`chunk`'),
        (dict(fp16='foo'), "got 'foo'"),
        (dict(algorithm='given', paths=['012']), 'has 10 digits'),
        (dict(minimise=['latency']), 'latency_table'),
        (dict(constraint=dict(max_macs=1)), 'no path keeps the bounds'),
        (dict(constraint=dict(max_macs=float('nan'))), '`max_macs`'),
        (dict(constraint=dict(input_size=128)), '`input_size`'),
        (dict(executor=dict(type='cloud')), 'local or ray'),
    ],
)
def test_settings_that_are_wrong(config, supernet, settings, part):
    config.val_cfg.update(settings)
    with pytest.raises(ValueError, match='.') as caught:
        require_search_settings(config.val_cfg, supernet)
    assert part in str(caught.value)


def test_search_needs_a_metric(config, supernet):
    del config.val_cfg['metric']
    with pytest.raises(ValueError, match='`val_cfg` needs `metric`'):
        require_search_settings(config.val_cfg, supernet)


def test_bounds_on_the_detector_are_not_compared_with_the_backbone(
    config, supernet
):
    """Which would have to be as large alone."""
    config.val_cfg.constraint = dict(min_macs=1e9, whole_detector=True)
    require_search_settings(config.val_cfg, supernet)
