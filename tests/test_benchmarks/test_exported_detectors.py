"""Detectors of mmdet that are trained on the digits, and exported."""

import argparse
import runpy
import sys

import pytest
import torch
from kit.digits_runs import ROOT
from mmengine.config import Config

from detnas_mm.compat import setup_compat
from detnas_mm.models import build_model

sys.path.insert(0, str(ROOT / 'benchmarks'))
STUDY = runpy.run_path(str(ROOT / 'benchmarks/exported_detectors.py'))
sys.path.pop(0)


@pytest.mark.parametrize('name', STUDY['DETECTORS'])
def test_heads_are_those_of_mmdet(tmp_path, name):
    setup_compat()
    args = argparse.Namespace(path='1002321110000')
    file = tmp_path / 'config.py'
    STUDY['write_config'](name, args, tmp_path / 'backbone.pth', file)
    config = Config.fromfile(file)
    assert config.model.type == name.replace(' ', '').replace('-', '')
    assert config.test_dataloader.dataset.data_root == 'data/digits/'
    config.model.backbone.init_cfg = None
    model = build_model(config).eval()
    is_dense = not hasattr(model, 'rpn_head')
    dense = model.bbox_head if is_dense else model.rpn_head
    with torch.no_grad():
        scores, *_ = dense(model.extract_feat(torch.zeros(1, 3, 128, 128)))
    # Strides 8 to 128; a head of regions also takes 4, and tells objects only.
    classes = 10 if is_dense else 1
    assert [level.shape[2] for level in scores] == (
        [16, 8, 4, 2, 1] if is_dense else [32, 16, 8, 4, 2]
    )
    assert all(level.shape[1] % classes == 0 for level in scores)
    last = model.bbox_head if is_dense else model.roi_head.bbox_head
    assert last.num_classes == 10
