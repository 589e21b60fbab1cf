"""The demo draws the boxes of a digits detector."""

import json

import cv2
import numpy as np
import pytest
import torch
from command_lines import config_file, run_here
from kit.digits_runs import ROOT
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


def test_missing_image_is_named(detector, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_here(DEMO, tmp_path / 'absent.jpg', *detector)
    assert 'no file' in capsys.readouterr().err
