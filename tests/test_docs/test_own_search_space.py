"""The documented example of a new block and other widths."""

import json
import re

import torch
from kit.counting import count_macs, count_params
from kit.digits_runs import ROOT, load_config, run_search, train_config
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from detnas_mm.models import build_choice_block
from detnas_mm.registry import CHOICE_BLOCKS
from detnas_mm.structures import SearchRecord
from detnas_mm.visualization.data import make_search
from detnas_mm.visualization.report import use_lines

EXAMPLE = ROOT / 'docs' / 'examples' / 'own_search_space'
STOCK = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'


def test_own_space_is_trained_searched_and_used(digits, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    config = train_config(f'{EXAMPLE}/supernet', digits, tmp_path / 'supernet')
    Runner.from_cfg(config).train()

    config = load_config(f'{EXAMPLE}/search', digits, tmp_path / 'search')
    config.load_from = str(tmp_path / 'supernet' / 'epoch_1.pth')
    config.val_cfg.constraint = dict(max_macs=60e6)
    candidates = run_search(config)
    assert {c['status'] for c in candidates} == {'complete'}
    assert set(''.join(c['path'] for c in candidates)) & {'2', '3'}

    best = max(candidates, key=lambda c: (c['fitness'], -c['index']))
    inherit = tmp_path / 'inherit.py'
    inherit.write_text(
        f"_base_ = ['{STOCK}', 'search/best_backbone.py']\n"
        'model = dict(backbone=_base_.searched_backbone,\n'
        '    data_preprocessor=_base_.searched_data_preprocessor,\n'
        '    neck=dict(in_channels=_base_.searched_out_channels))\n'
    )
    config = Config.fromfile(inherit)
    assert config.custom_imports.imports == ['inverted_residual']
    assert config.model.neck.in_channels == [24, 48, 96, 192]
    pasted = tmp_path / 'pasted.py'
    pasted.write_text(f"_base_ = '{STOCK}'\n" + lines_of_report(tmp_path))
    pasted = Config.fromfile(pasted)
    assert pasted.custom_imports == config.custom_imports
    assert pasted.model == config.model
    init_default_scope('mmdet')
    net = MODELS.build(config.model.backbone).eval()
    result = json.loads((tmp_path / 'search' / 'best.json').read_text())
    assert result['path'] == best['path']

    # The cost of the new block is exact without a formula.
    image = torch.randn(1, 3, 224, 224)
    assert best['macs'] == count_macs(net, lambda: net(image)) <= 60e6
    assert best['params'] == count_params(net)


def lines_of_report(folder):
    record = SearchRecord.read(folder / 'search' / 'search_record.jsonl')
    search = make_search('own', record)
    return use_lines(search, search.best)


def test_block_of_the_page_takes_the_normalization_of_the_config():
    page = (ROOT / 'docs' / 'own_search_space.md').read_text()
    (code,) = re.findall(r'```python\n(from .*?)```', page, re.S)
    exec(code, {})
    try:
        settings = dict(stride=2, shuffle='grouped')
        norm_cfg = dict(type='GN', num_groups=4)
        block = build_choice_block(
            'plain_3x3',
            in_channels=4,
            out_channels=8,
            norm_cfg=norm_cfg,
            **settings,
        )
    finally:
        del CHOICE_BLOCKS.module_dict['plain_3x3']
    assert [m for m in block.modules() if isinstance(m, nn.GroupNorm)]
    assert block(torch.randn(2, 4, 8, 8)).shape == (2, 8, 4, 4)
