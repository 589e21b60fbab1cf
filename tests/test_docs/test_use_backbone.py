"""The page on using a backbone: its configs for other detectors."""

import re
from math import isfinite

import pytest
import torch
from kit.digits_runs import ROOT
from kit.results import write_best
from kit.stand_in_runs import shrink
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

USE_PAGE = (ROOT / 'docs' / 'use_backbone.md').read_text()


@pytest.fixture
def workplace(digits, tmp_path, monkeypatch):
    """A folder with the digits as data/mine."""
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'mine').symlink_to(digits)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read_beside_results(workplace, text):
    """Reads a config beside the work dir with the results of a search."""
    folder = workplace / 'work_dirs' / 'my_search'
    if not folder.exists():
        folder.mkdir(parents=True)
        write_best(folder)
    file = workplace / 'config.py'
    file.write_text(text)
    return Config.fromfile(file)


@pytest.mark.slow
def test_fcos_trains_the_found_backbone_on_the_same_data(workplace):
    blocks = re.findall(r'```python\n(.*?)```', USE_PAGE, re.S)
    (text,) = (block for block in blocks if 'data/mine/' in block)
    config = read_beside_results(workplace, text)
    config.train_cfg = dict(type='IterBasedTrainLoop')
    config.default_hooks.checkpoint.by_epoch = False
    config.log_processor.by_epoch = False
    shrink(config, 'own_data/fcos')
    config.model.test_cfg.score_thr = 0.0
    assert config.test_dataloader == config.val_dataloader
    assert config.test_evaluator.ann_file == 'data/mine/' + config.test_file
    runner = Runner.from_cfg(config)
    metrics = runner.train() and runner.val()
    assert isfinite(metrics['coco/bbox_mAP'])
    assert runner.model.backbone.path == (0, 1, 2, 3, 0, 1, 2, 3, 0, 1)
    for loader in (runner.train_dataloader, runner.val_dataloader):
        assert loader.dataset.metainfo['classes'] == config.classes


def test_classes_of_other_detectors(workplace):
    """The lines of the table of the page set all heads."""
    stock = {
        'ATSS': ('atss/atss_r50_fpn_1x_coco.py', 1),
        'Faster R-CNN': ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 1),
        'Cascade R-CNN': ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 3),
        'Mask R-CNN': ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 2),
    }
    init_default_scope('mmdet')
    for name, (base, heads) in stock.items():
        (line,) = re.findall(rf'^\| {name} \| `(.*?)`', USE_PAGE, re.M)
        text = (
            f"_base_ = ['mmdet::{base}',\n"
            "          'work_dirs/my_search/best_backbone.py']\n"
            f"classes = ('a', 'b', 'c')\nmodel = dict({line})\n"
        )
        config = read_beside_results(workplace, text)
        with torch.device('meta'):
            model = MODELS.build(config.model)
        found = [
            module.num_classes
            for module in model.modules()
            if hasattr(module, 'num_classes')
            and type(module).__name__ != 'RPNHead'
        ]
        assert found == [3] * heads, name
