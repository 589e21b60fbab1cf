"""Arguments of the command lines that examine one network."""

import argparse

import pytest
from mmengine.config import Config

from detnas_mm.engine.network_arguments import (
    add_device_option,
    add_path_options,
    add_shape_option,
    chosen_backbone,
    image_size,
)
from detnas_mm.utils.errors import InputError


def parse(*args):
    parser = argparse.ArgumentParser()
    add_device_option(parser)
    add_shape_option(parser)
    add_path_options(parser)
    return parser.parse_args(args)


def test_image_size_is_read_from_the_config_and_padded():
    pipeline = [dict(type='Load'), dict(type='Resize', scale=(1333, 800))]
    config = Config(
        dict(
            model=dict(data_preprocessor=dict(pad_size_divisor=32)),
            test_dataloader=dict(dataset=dict(pipeline=pipeline)),
        )
    )
    assert image_size(parse(), config) == (800, 1344)
    assert image_size(parse('--shape', '64', '96'), config) == (64, 96)
    with pytest.raises(InputError, match='give it by --shape'):
        image_size(parse(), Config(dict(model={})))


def test_supernet_needs_a_path():
    supernet = dict(type='detnas_mm.DetNASSupernet', search_space='tiny')
    config = Config(dict(model=dict(backbone=supernet)))
    chosen = chosen_backbone(parse('--path', '0' * 10), config)
    assert chosen['type'] == 'detnas_mm.DetNASNet'
    assert chosen['path'] == (0,) * 10
    with pytest.raises(InputError, match='is a supernet'):
        chosen_backbone(parse(), config)
    plain = Config(dict(model=dict(backbone=dict(type='ResNet'))))
    assert chosen_backbone(parse(), plain) is None
