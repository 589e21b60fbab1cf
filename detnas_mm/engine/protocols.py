"""Protocols of scoring candidates that are cheaper than that of a config."""

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from detnas_mm.engine.hooks.bn_recalibration_hook import BNRecalibrationHook
from detnas_mm.utils.errors import InputError


def default_protocols(config: Config) -> list[dict[str, Any]]:
    """Returns cheaper protocols for one-stage and two-stage detectors.

    Args:
        config: The config of a search.
    """
    images = num_bn_images(config)
    test = config.model.test_cfg
    if 'rpn' in test:
        proposals = test.rpn.max_per_img
        boxes = [
            {'model.test_cfg.rpn.max_per_img': proposals // 3},
            {'model.test_cfg.rcnn.max_per_img': test.rcnn.max_per_img // 2},
        ]
    else:
        boxes = [
            {'model.test_cfg.nms_pre': test.nms_pre // 3},
            {'model.test_cfg.max_per_img': test.max_per_img // 2},
        ]
    return [
        *boxes,
        {'images': 0.5},
        {'images': 0.25},
        {'bn_images': images // 4},
        {'scale': 0.75},
        {'val_cfg.fp16': True},
    ]


def find_hook(config: Config) -> dict:
    """Returns the settings of the BN recalibration.

    Args:
        config: The config of a search.

    Raises:
        InputError: If it has none.
    """
    for hook in config.custom_hooks:
        if hook['type'].endswith('BNRecalibrationHook'):
            return hook
    raise InputError(
        'the config has no BNRecalibrationHook among its `custom_hooks`'
    )


def num_bn_images(config: Config) -> int:
    """Returns the number of images for BN statistics.

    Args:
        config: The config of a search.
    """
    settings = inspect.signature(BNRecalibrationHook).parameters
    return find_hook(config).get('num_images', settings['num_images'].default)


def protocol_config(config: Config, settings: Mapping[str, Any]) -> Config:
    """Returns the config of a protocol.

    Args:
        config: The config of a search.
        settings: What the protocol changes: keys of the config, ``bn_seed``
            and ``bn_images``, or ``scale`` of all images.

    Raises:
        InputError: If `scale` is to change and nothing resizes images.
    """
    changed = Config(config.to_dict())
    rest = dict(settings)
    rest.pop('images', None)
    hook = find_hook(changed)
    hook['seed'] = rest.pop('bn_seed', hook.get('seed', 0))
    hook['num_images'] = rest.pop('bn_images', num_bn_images(config))
    scale = rest.pop('scale', 1)
    if scale != 1:
        for split in ('train', 'val'):
            _rescale(changed[f'{split}_dataloader'].dataset, scale)
    changed.merge_from_dict(rest)
    return changed


def _rescale(dataset: dict, scale: float) -> None:
    """Makes the images of a data set smaller."""
    while 'pipeline' not in dataset:
        dataset = dataset['dataset']
    found = [step for step in dataset['pipeline'] if 'scale' in step]
    if not found:
        raise InputError(
            '`scale` needs a step with a `scale`, such as Resize, in the '
            'pipelines of `train_dataloader` and `val_dataloader`'
        )
    for step in found:
        step['scale'] = tuple(round(scale * side) for side in step['scale'])
