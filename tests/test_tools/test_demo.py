"""The demo draws the boxes of a digits detector."""

import json

import cv2
import numpy as np
import pytest
import torch
from kit.command_lines import config_file, run_here
from kit.digits_runs import ROOT
from mmdet.apis import DetInferencer
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

DEMO = ROOT / 'demo' / 'image_demo.py'


@pytest.fixture
def detector(tmp_path):
    """A digits detector with random weights: config and checkpoint."""
    base = config_file('retinanet_detnas-tiny_fpn_digits')
    file = tmp_path / 'detector.py'
    file.write_text(
        f"_base_ = '{base}'\n"
        "model = dict(backbone=dict(path='0123012301', init_cfg=None))\n"
    )
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(file).model)
    checkpoint = tmp_path / 'detector.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    return file, checkpoint


def test_boxes_are_drawn_and_nothing_else_is_said(
    digits, detector, tmp_path, capfd, recwarn
):
    image = sorted((digits / 'test').iterdir())[0]
    printed = run_here(
        DEMO, image, *detector, '--out-dir', tmp_path / 'out',
        '--score-thr', 0, '--device', 'cpu',
    )  # fmt: skip
    drawn = tmp_path / 'out' / 'vis' / image.name
    assert printed.endswith(f'{drawn}\n')
    before, after = cv2.imread(str(image)), cv2.imread(str(drawn))
    # Enlarged, as labels would hide what is in it.
    assert after.shape == (512, 512, 3)
    before = cv2.resize(before, (512, 512))
    assert np.abs(before.astype(int) - after).max() > 100
    boxes = json.loads((tmp_path / f'out/preds/{image.stem}.json').read_text())
    assert 0 <= np.min(boxes['bboxes']) < np.max(boxes['bboxes']) <= 128
    assert len(boxes['bboxes']) == printed.count('score') > 0
    # The other two lines name the checkpoint and the image.
    assert printed.count('\n') == len(boxes['bboxes']) + 2
    assert capfd.readouterr() == ('', '')
    told = {f'{one.filename}: {one.message}' for one in recwarn}
    assert not [file for file in told if 'mmengine/visualization' in file]


@pytest.fixture
def image(tmp_path):
    file = tmp_path / 'image.png'
    cv2.imwrite(str(file), np.zeros((64, 64, 3), np.uint8))
    return file


@pytest.fixture
def error_line(tmp_path, capfd, monkeypatch):
    """Runs a demo that fails before inference; returns its one line."""

    def fail(image, config, checkpoint, *args):
        monkeypatch.setattr(DetInferencer, '__call__', None)
        with pytest.raises(SystemExit) as caught:
            run_here(
                DEMO, image, config, checkpoint,
                '--out-dir', tmp_path / 'out', *args,
            )  # fmt: skip
        assert caught.value.code == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith('error: ')
        return line

    return fail


def test_checkpoint_of_another_model(detector, image, error_line, supernet):
    """MMEngine would load what fits, and draw the boxes of the rest."""
    line = error_line(image, detector[0], supernet)
    assert f'{supernet} does not fit RetinaNet: ' in line


def test_supernet_has_no_boxes(image, error_line, supernet):
    config = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
    assert 'supernet_to_subnet.py' in error_line(image, config, supernet)


def test_config_of_a_classifier(detector, image, error_line):
    config = config_file('detnas-supernet-tiny_digits-cls')
    line = error_line(image, config, detector[1])
    assert 'builds a ImageClassifier, expected a detector' in line


def test_file_that_is_no_checkpoint(detector, image, error_line, tmp_path):
    file = tmp_path / 'other.pth'
    file.write_bytes(detector[1].read_bytes()[:9999])
    assert 'truncated' in error_line(image, detector[0], file)
    torch.save([torch.ones(1)], file)
    assert 'got list' in error_line(image, detector[0], file)


def test_file_that_is_no_image(detector, error_line, tmp_path):
    line = error_line(tmp_path / 'absent.jpg', *detector)
    assert 'no file' in line
    for content in ('', 'no image'):
        (tmp_path / 'text.jpg').write_text(content)
        line = error_line(tmp_path / 'text.jpg', *detector)
        assert 'text.jpg is no image' in line


def test_boxes_that_cannot_be_written(detector, image, error_line, tmp_path):
    (tmp_path / 'out').write_text('')
    line = error_line(image, *detector)
    assert f'cannot write to {tmp_path / "out"}' in line
    assert 'use another --out-dir' in line


def test_device_that_is_not_there(detector, image, error_line):
    line = error_line(image, *detector, '--device', 'cuda:99')
    assert 'use --device cpu' in line
    line = error_line(image, *detector, '--device', 'foo')
    assert "such as cuda:0 or cpu, got 'foo'" in line
