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


def test_boxes_are_drawn_without_warnings(
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
    # Enlarged, since labels would hide the objects.
    assert after.shape == (512, 512, 3)
    before = cv2.resize(before, (512, 512))
    assert np.abs(before.astype(int) - after).max() > 100
    boxes = json.loads((tmp_path / f'out/preds/{image.stem}.json').read_text())
    assert 0 <= np.min(boxes['bboxes']) < np.max(boxes['bboxes']) <= 128
    assert len(boxes['bboxes']) == printed.count('score') > 0
    # The other two lines name the checkpoint and the image.
    assert printed.count('\n') == len(boxes['bboxes']) + 2
    assert capfd.readouterr() == ('', '')
    warned = {warning.filename for warning in recwarn}
    assert not [file for file in warned if 'mmengine/visualization' in file]


def test_wrong_inputs_are_named(
    detector, supernet, tmp_path, refusal, monkeypatch
):
    """MMEngine would load the weights that fit, and draw random boxes."""
    monkeypatch.setattr(DetInferencer, '__call__', None)

    def error_line(*arguments):
        return refusal(DEMO, *arguments, '--out-dir', tmp_path / 'out')

    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.zeros((64, 64, 3), np.uint8))
    config, checkpoint = detector
    line = error_line(image, config, supernet)
    assert f'{supernet} does not fit RetinaNet: ' in line
    of_supernet = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
    line = error_line(image, of_supernet, supernet)
    assert 'supernet_to_subnet.py' in line
    classifier = config_file('detnas-supernet-tiny_digits-cls')
    line = error_line(image, classifier, checkpoint)
    assert 'builds a ImageClassifier, expected a detector' in line
    line = error_line(tmp_path / 'absent.jpg', *detector)
    assert 'no file' in line
    text = tmp_path / 'text.jpg'
    for content in ('', 'no image'):
        text.write_text(content)
        assert f'{text} cannot be read' in error_line(text, *detector)
    (tmp_path / 'out').rmdir()
    (tmp_path / 'out').write_text('')
    assert 'use another --out-dir' in error_line(image, *detector)
