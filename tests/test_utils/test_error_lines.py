"""One line for the mistakes that users make first."""

import errno
import importlib
import os
from pathlib import Path

import pytest
from kit.configs import read_config
from mmengine import fileio
from mmengine.config import Config
from mmengine.registry import METRICS, MODELS, Registry
from mmengine.runner import Runner
from mmengine.utils import get_installed_path

import detnas_mm.engine
import detnas_mm.models  # noqa: F401  (what is registered)
from detnas_mm.compat import setup_compat
from detnas_mm.models import build_model
from detnas_mm.utils.error_lines import error_line, unknown_name


def line_of(act, *arguments, **settings):
    """What a command would say about the error of an action."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        act(*arguments, **settings)
    line = error_line(caught.value)
    assert line is None or '\n' not in line
    return line


def build(**settings):
    return MODELS.build(dict(type='detnas_mm.DetNASNet') | settings)


@pytest.mark.parametrize(
    ('settings', 'parts'),
    [
        (dict(path='012', search_space='tiny'), ('10 digits', "'012'")),
        (
            dict(path='0123012304', search_space='tiny'),
            ("'4' of block 4.2, number 10 of 10", "'0123'"),
        ),
        (dict(path='detnas_300m'), ('detnas_fpn_300m', "'detnas_300m'")),
        (
            dict(path='detnas_300m', search_space='small'),
            ('detnas_fpn_300m', "'detnas_300m'"),
        ),
        (dict(path='0' * 20, search_space='smal'), ("'smal'", 'small, large')),
        (dict(path='work/best.json'), ('work/best.json', 'tools/search.py')),
        (
            dict(path='0' * 10, search_space='tiny', frozen=1),
            ("DetNASNet has no setting 'frozen'", 'frozen_stages?'),
        ),
        (
            dict(type='detnas_mm.DetNasNet'),
            ("'detnas_mm.DetNasNet'", 'did you mean detnas_mm.DetNASNet'),
        ),
        (dict(type='MyNet'), ("'MyNet'", 'custom_imports')),
    ],
)
def test_what_a_config_gets_wrong_is_named(settings, parts):
    line = line_of(build, **settings)
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    ('key', 'line'),
    [
        (
            'model.bbox_head.num_clases',
            "RetinaHead has no setting 'num_clases'; did you mean "
            'num_classes?',
        ),
        (
            'model.bbox_head.loss_cls.gama',
            "FocalLoss has no setting 'gama'; did you mean gamma?",
        ),
        (
            'model.backbone.qqq',
            "DetNASSupernet has no setting 'qqq'; it has frozen_stages, "
            'init_cfg, norm_cfg, norm_eval, out_indices, search_space, '
            'shuffle, with_cp',
        ),
    ],
)
def test_setting_that_a_part_of_a_detector_hands_on(key, line):
    """Its base class does not know it; nor do we, before it is built."""
    name = 'digits/retinanet_detnas-supernet-tiny_fpn_digits'
    config = Config(read_config(name).to_dict())
    config.merge_from_dict({key: 1})
    assert line_of(build_model, config) == line


def test_setting_of_a_data_loader():
    loader = dict(
        dataset=[],
        sampler=dict(type='DefaultSampler', shuffle=False),
        batchsize=1,
    )
    line = line_of(Runner.build_dataloader, loader)
    assert line == (
        "DataLoader has no setting 'batchsize'; did you mean batch_size?"
    )


@pytest.mark.parametrize(
    ('name', 'registry', 'meant'),
    [
        ('RetinaHed', 'mmdet::model', 'RetinaHead'),
        ('CheckpointHok', 'hook', 'CheckpointHook'),
        ('DetNASNet', 'mmdet::model', 'detnas_mm.DetNASNet?'),
        ('detnas_mm.PathSamplingHook', 'mmdet::hook', 'detnas_mm.Single'),
    ],
)
def test_names_of_all_libraries_are_suggested(name, registry, meant):
    setup_compat()
    importlib.import_module('mmdet.models')
    assert f'did you mean {meant}' in unknown_name(name, registry)


def test_what_a_class_has_against_its_settings():
    settings = dict(type='mmdet.CocoMetric', metric='bboxx')
    line = line_of(METRICS.build, settings)
    assert line.startswith("CocoMetric: metric should be one of 'bbox'")


@pytest.mark.parametrize(
    ('base', 'start'),
    [
        ('nowhere.py', 'no such config: {folder}/nowhere.py; '),
        (
            'mmdet::fcos/fcos_r50.py',
            'no such config: {mmdet}/fcos/fcos_r50.py',
        ),
        ('mmdett::fcos/fcos_r50.py', 'mmengine does not support to load mmde'),
    ],
)
def test_base_of_a_config_that_is_not_there(tmp_path, base, start):
    file = tmp_path / 'config.py'
    file.write_text(f'_base_ = [{base!r}]')
    line = line_of(Config.fromfile, file)
    package = Path(get_installed_path('mmdet')) / '.mim' / 'configs'
    assert line.startswith(start.format(folder=tmp_path, mmdet=package))
    assert 'data_root' not in line


@pytest.mark.parametrize(
    ('name', 'content', 'start'),
    [
        ('one.py', 'a = 1\nb = (', "a config is no Python: '(' was never cl"),
        ('one.py', 'a = b', "name 'b' is not defined; check the config"),
        ('one.json', '{"a": ', 'Expecting value: line 1'),
        ('one.py', b'\xff\xfe', "'utf-8' codec can't decode"),
    ],
)
def test_config_that_cannot_be_read(tmp_path, name, content, start):
    file = tmp_path / name
    content = content.encode() if isinstance(content, str) else content
    file.write_bytes(content)
    assert line_of(Config.fromfile, file).startswith(start)


def test_module_that_python_does_not_find(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text("custom_imports = dict(imports=['not_there'])")
    line = line_of(Config.fromfile, file)
    assert line.startswith("no module 'not_there', which `custom_imports`")
    assert 'PYTHONPATH' in line


def test_module_that_fails_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / 'own_failing.py').write_text('from math import nothing')
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / 'config.py'
    file.write_text("custom_imports = dict(imports=['own_failing'])")
    assert line_of(Config.fromfile, file) is None


def test_argument_that_no_config_names_keeps_its_traceback():
    def stumble(**settings):
        raise TypeError("f() got an unexpected keyword argument 'other'")

    registry = Registry('part')
    registry.register_module('stumble', module=stumble)
    assert line_of(registry.build, dict(type='stumble', known=1)) is None


@pytest.mark.parametrize(
    ('file', 'hint'),
    [
        (
            'data/digits/annotations/instances_train.json',
            'digits.py --out data/digits`',
        ),
        (
            'd/digits/classification/train',
            'digits.py --out d/digits`',
        ),
        (
            'my/coco/annotations/detnas_search2017.json',
            'coco_search_split.py my/coco`',
        ),
        (
            'my/coco/annotations/instances_minival2014.json',
            'coco_search_split.py my/coco --year 2014`',
        ),
        ('d/mine/annotations/detnas_train_mine.json', 'docs/own_data.md`'),
        (
            'd/voc/VOC2012/ImageSets/Main/detnas_search.txt',
            'voc_search_split.py d/voc`',
        ),
        ('d/in1k/meta/detnas_train.txt', 'imagenet_search_split.py d/in1k`'),
        # A word in the path makes no data set of digits.
        ('/me/digits_project/coco/annotations/instances_train.json', '_root'),
        ('/me/digits/coco/annotations/instances_train.json', 'data_root'),
        ('/me/digits/annotations/boxes.json', 'data_root'),
        ('elsewhere/train.json', 'data_root'),
    ],
)
def test_missing_data_are_named_with_what_makes_them(
    monkeypatch, tmp_path, file, hint
):
    # Where the digits are built, one of these files is there.
    monkeypatch.chdir(tmp_path)
    line = line_of(fileio.get, file)
    assert f': {file}; ' in line
    assert hint in line


def unwritable(number, reason, *file):
    raise OSError(number, reason, *file)


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_cannot_be_written_is_one_line(number):
    """Whoever found out, a library say."""
    reason = os.strerror(number)
    line = line_of(unwritable, number, reason, 'a/log')
    assert line.startswith(f'a/log: {reason}; ')
    assert line.count('--resume') == 1
    line = line_of(unwritable, number, reason)
    assert line.startswith(f'{reason}; ')
    line = line_of(unwritable, number, 'cannot write x; go on with --resume')
    assert line.endswith('cannot write x; go on with --resume')


def test_a_file_of_the_users_own_code_keeps_its_traceback(tmp_path):
    assert line_of(open, tmp_path / 'weights.csv') is None


def test_other_errors_keep_their_traceback():
    assert line_of(int, 'x') is None
    assert line_of(lambda: {}['key']) is None
