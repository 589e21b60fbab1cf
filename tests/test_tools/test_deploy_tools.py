"""A detector leaves Python: the file, its metadata, the sample program."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from kit.command_lines import config_file, run_here
from kit.digits_runs import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from detnas_mm.cost import backbone_macs
from detnas_mm.models.detector_program import DetectorProgram
from detnas_mm.structures import SEARCH_SPACES

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
EXPORT = 'deploy/export_detector.py'
PATH = '0123012301'
# All that the sample program needs, and what these need.
RUNTIME = ('cv2', 'numpy', 'numpy.libs', 'onnxruntime', 'opencv_python.libs')


def write_detector(folder, name='retinanet_detnas-tiny_fpn_digits'):
    """Writes a digits detector with random weights."""
    file = folder / 'detector.py'
    file.write_text(
        f"_base_ = '{config_file(name)}'\n"
        f"model = dict(backbone=dict(path='{PATH}', init_cfg=None))\n"
    )
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(file).model).eval()
    torch.save(dict(state_dict=model.state_dict()), folder / 'detector.pth')
    return file, folder / 'detector.pth', model


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """The model, and its file."""
    folder = tmp_path_factory.mktemp('deploy')
    config, checkpoint, model = write_detector(folder)
    out = folder / 'detector.onnx'
    printed = run_here(EXPORT, config, checkpoint, out)
    assert f'{out}: image (128, 128, 3), bytes in BGR, to boxes' in printed
    return model, out


@pytest.fixture(scope='module')
def image(digits):
    return sorted((digits / 'test').iterdir())[0]


def test_boxes_of_the_file_are_those_of_pytorch(exported, image):
    model, file = exported
    pixels = cv2.imread(str(image))
    found = onnxruntime.InferenceSession(file).run(None, dict(image=pixels))
    with torch.no_grad():
        expected = DetectorProgram(model, (128, 128))(torch.tensor(pixels))
    assert len(expected[0]) == 20
    for ours, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-3)


def test_the_file_says_what_it_is(exported):
    session = onnxruntime.InferenceSession(exported[1])
    entries = session.get_modelmeta().custom_metadata_map
    assert json.loads(entries['classes']) == list('0123456789')
    assert json.loads(entries['input_size']) == [128, 128]
    assert entries['channel_order'] == 'BGR'
    # The mean of the training images, which are RGB.
    assert json.loads(entries['pad_value']) == [104, 116, 124]
    assert entries['path'] == PATH
    macs = backbone_macs(
        SEARCH_SPACES['tiny'], tuple(map(int, PATH)), (128, 128)
    )
    assert int(entries['backbone_macs']) == macs


@pytest.fixture
def doubled(digits, tmp_path):
    """Two test images of twice the size, as the split of a folder."""
    content = json.loads(
        (digits / 'annotations/instances_test.json').read_text()
    )
    content['images'] = content['images'][:2]
    for item in content['images']:
        pixels = cv2.imread(str(digits / 'test' / item['file_name']))
        pixels = cv2.resize(pixels, None, fx=2, fy=2)
        cv2.imwrite(str(tmp_path / item['file_name']), pixels)
        item['height'], item['width'] = pixels.shape[:2]
    (tmp_path / 'test.json').write_text(json.dumps(content))
    return dict(
        data_root=str(tmp_path), ann_file='test.json', data_prefix=dict(img='')
    )


def test_the_file_is_tested_as_mmdet_tests(exported, doubled, monkeypatch):
    """Resized images, and boxes in the pixels of the originals."""
    model, file = exported
    monkeypatch.syspath_prepend(str(ROOT / 'tools/deploy'))
    tool = importlib.import_module('test_detector')
    config = Config.fromfile(file.parent / 'detector.py')
    loader = config.test_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    loader.dataset.update(doubled)
    config.test_evaluator.ann_file = str(
        Path(doubled['data_root'], doubled['ann_file'])
    )
    found = []
    monkeypatch.setattr(
        tool.Evaluator, 'process', lambda _, samples: found.extend(samples)
    )
    monkeypatch.setattr(tool.Evaluator, 'evaluate', lambda *_: {})
    tool.evaluate(config, file)
    expected = []
    with torch.no_grad():
        for batch in Runner.build_dataloader(loader):
            expected += model.test_step(batch)
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.img_id == theirs.img_id
        boxes = theirs.pred_instances.bboxes
        assert len(boxes) == 20
        assert boxes.max() > 160
        torch.testing.assert_close(
            ours.pred_instances.bboxes, boxes, rtol=1e-4, atol=1e-2
        )
        assert torch.equal(
            ours.pred_instances.labels, theirs.pred_instances.labels
        )


def test_classes_are_those_of_the_test_split(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools/deploy'))
    tool = importlib.import_module('export_detector')
    names = tmp_path / 'names.txt'
    names.write_text('cat\ndog\n')
    init_default_scope('mmdet')
    for metainfo, number, first in (
        ({}, 80, 'person'),
        (dict(metainfo=dict(classes=('bird',))), 1, 'bird'),
        (dict(metainfo=dict(classes=str(names))), 2, 'cat'),
    ):
        dataset = dict(type='CocoDataset') | metainfo
        config = Config(dict(test_dataloader=dict(dataset=dataset)))
        classes = tool.class_names(config)
        assert (len(classes), classes[0]) == (number, first)


def test_sample_program_needs_no_torch(exported, image, tmp_path):
    site = Path(onnxruntime.__file__).parents[1]
    for name in RUNTIME:
        if (site / name).exists():
            (tmp_path / name).symlink_to(site / name)
    out = tmp_path / 'drawn.png'
    arguments = [ROOT / 'demo/detect_onnx.py', exported[1], image, out, 0]
    # Without site there are no other packages.
    process = subprocess.run(
        [sys.executable, '-S', *map(str, arguments)],
        env=os.environ | dict(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert len(lines) == 20
    assert all(
        re.fullmatch(r'\d: score 0\.\d\d, box \(.*\) px', line)
        for line in lines
    )
    process = subprocess.run(
        [sys.executable, *map(str, arguments[:2]), 'lost.jpg', out],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1
    assert 'error: lost.jpg is not an image' in process.stderr
    drawn, before = cv2.imread(str(out)), cv2.imread(str(image))
    assert np.abs(drawn.astype(int) - before).max() > 100


def test_wrong_input_is_refused(tmp_path, refusal):
    config, checkpoint, _ = write_detector(tmp_path)
    out = tmp_path / 'detector.onnx'
    gfl = tmp_path / 'gfl.py'
    gfl.write_text(
        "_base_ = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'\n"
        'model = dict(backbone=dict(init_cfg=None))\n'
    )
    weights = tmp_path / 'gfl.pth'
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(gfl).model)
    torch.save(dict(state_dict=model.state_dict()), weights)
    supernet = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
    for expected, *arguments in (
        ('multiples of 32', config, checkpoint, out, '--shape', 64, 100),
        ('must end in .onnx', config, checkpoint, tmp_path / 'detector.pt2'),
        ('does not fit', supernet, checkpoint, out),
        ('the head GFLHead', gfl, weights, out, '--shape', 64, 64),
        ('a folder with images', config, checkpoint, out,
         *('--int8', tmp_path / 'nowhere')),
        ('--calibration-images must be at least 1', config, checkpoint, out,
         *('--int8', tmp_path, '--calibration-images', 0)),
        ('excludes --int8', config, checkpoint, out, '--backbone',
         *('--int8', tmp_path)),
    ):  # fmt: skip
        assert expected in refusal(EXPORT, *arguments)
        assert not out.exists()
