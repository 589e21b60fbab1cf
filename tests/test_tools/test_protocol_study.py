"""What scores under cheaper protocols are worth."""

import json
import runpy

import pytest
from kit.command_lines import (
    ALL_BOXES,
    RECALIBRATION,
    config_file,
    loading_options,
    run_here,
)
from kit.digits_runs import ROOT
from mmengine.config import Config

TOOL = 'analysis_tools/protocol_study.py'
SEARCH = config_file('retinanet_detnas-search-tiny_fpn_digits')


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(ROOT / 'tools' / TOOL))


def scales(config):
    return [
        step['scale']
        for split in ('train', 'val')
        for step in config[f'{split}_dataloader'].dataset.pipeline
        if 'scale' in step
    ]


def test_settings_of_a_protocol(tool):
    config = Config.fromfile(SEARCH)
    settings = {
        'bn_seed': 7,
        'bn_images': 16,
        'scale': 0.5,
        'images': 0.5,
        'model.test_cfg.nms_pre': 11,
    }
    changed = tool['protocol_config'](config, settings)
    hook = changed.custom_hooks[1]
    assert (hook.seed, hook.num_images) == (7, 16)
    assert changed.model.test_cfg.nms_pre == 11
    halves = [tuple(side // 2 for side in one) for one in scales(config)]
    assert scales(changed) == halves
    assert len(halves) == 2
    # The config itself stays as it was.
    assert config.to_dict() == Config.fromfile(SEARCH).to_dict()


@pytest.mark.parametrize('detector', ['retinanet', 'faster-rcnn'])
def test_default_protocols_change_settings_that_are_there(tool, detector):
    config = Config.fromfile(
        config_file(f'{detector}_detnas-search-tiny_fpn_digits')
    )
    for settings in tool['default_protocols'](config):
        changed = tool['protocol_config'](config, settings)
        (key,) = settings
        if key.startswith('model.'):
            names = key.split('.')
            here = there = None
            for name in names:
                here = (config if here is None else here)[name]
                there = (changed if there is None else there)[name]
            assert 0 < there < here


def test_table_of_a_study(digits, supernet, tmp_path):
    arguments = [
        TOOL, SEARCH, supernet, '--candidates', 3, '--work-dir', tmp_path,
        '--json', tmp_path / 'out.json', '--protocol', 'images=0.5',
        '--cfg-options', *loading_options(digits, 'train', 'val'),
        *RECALIBRATION, *ALL_BOXES,
    ]  # fmt: skip
    output = run_here(*arguments)
    assert '3 candidates' in output
    rows = json.loads((tmp_path / 'out.json').read_text())
    names = [row['protocol'] for row in rows]
    assert names == ['full', 'other images for BN', 'images=0.5']
    assert rows[0]['Kendall tau'] == pytest.approx(1)
    assert rows[0]['scores move by'] == 0 < rows[1]['scores move by']
    # Kept: nothing is scored again.
    file = tmp_path / 'protocols_seed0.json'
    kept = json.loads(file.read_text())
    run_here(*arguments)
    assert json.loads((tmp_path / 'out.json').read_text()) == rows
    assert list(kept) == names
    # But for what other weights or another config have scored.
    (tmp_path / 'out.json').unlink()
    missing = f'{digits}/annotations/missing.json'
    with pytest.raises(SystemExit):
        run_here(*arguments, f'val_dataloader.dataset.ann_file={missing}')
    assert json.loads(file.read_text()) == kept


def test_default_number_of_bn_images(tool):
    config = Config.fromfile(SEARCH)
    del config.custom_hooks[1]['num_images']
    changed = tool['protocol_config'](config, {})
    assert changed.custom_hooks[1].num_images == 500
