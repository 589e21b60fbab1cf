"""The table of MACs and parameters."""

import re

import pytest
from kit.command_lines import run_here
from kit.digits_runs import CONFIGS

TOOL = 'analysis_tools/get_flops.py'
FASTER_RCNN = CONFIGS / 'detnas/faster-rcnn_detnas-small_fpn_1x_coco.py'
RETINANET = CONFIGS / 'detnas/retinanet_detnas-small_fpn_1x_coco.py'
# Counted on the authors' networks: MACs and parameters of the backbone, MACs
# with the classification head (that of the largest net: by the formula).
PUBLISHED = {
    'detnas_fpn_300m': (288_082_368, 1_849_680, 321_219_008),
    'detnas_retinanet_300m': (291_205_824, 2_041_888, 324_342_464),
    'detnasnet_1.3g': (1_269_181_536, 8_415_216, 1_318_374_496),
    'detnasnet_3.8g': (
        3_937_832_864,
        26_724_428,
        3_937_832_864 + 1728 * 1024 * 49 + 1_024_000,
    ),
    'all 3x3': (262_705_856, 1_473_488, 295_842_496),
    'all Xception': (325_689_280, 2_189_424, 358_825_920),
}


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')


def rows(*arguments):
    """The numbers of each row, by the row's name and its second cell."""
    printed = run_here(TOOL, *arguments)
    found = {}
    for line in printed.splitlines():
        cells = [cell.strip() for cell in line.strip('│┃ ').split('│')]
        numbers = [
            int(cell.replace(',', ''))
            for cell in cells[2:]
            if re.fullmatch('[0-9,]+', cell)
        ]
        if numbers:
            found[tuple(cells[:2])] = numbers
    return found


def test_published_backbones_in_a_narrow_terminal(monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    found = {name: numbers for (name, _), numbers in rows().items()}
    assert found == {name: [*n] for name, n in PUBLISHED.items()}
    name = '0123' * 10
    printed = run_here(TOOL, '--path', name, '--search-space', 'large')
    assert '…' not in printed
    cells = [line.strip('│ ').split('│')[0] for line in printed.splitlines()]
    assert name in ''.join(map(str.strip, cells))


def test_parts_of_faster_rcnn():
    """Counted independently: 54.9, 53.1 and 128.9 billion MACs."""
    found = rows(FASTER_RCNN, '--path', 'detnas_fpn_300m')
    size = '800x1344'
    macs = {
        part: found[part, size][0] / 1e9
        for part in ('backbone', 'neck', 'rpn_head', 'roi_head', 'all')
    }
    assert found['backbone', '224x224'] == [*PUBLISHED['detnas_fpn_300m'][:2]]
    assert macs['neck'] == pytest.approx(54.9, abs=0.05)
    assert macs['rpn_head'] == pytest.approx(53.1, abs=0.05)
    assert macs['roi_head'] == pytest.approx(128.9, abs=0.05)
    # The same at 25 x 42 instead of 7 x 7 cells of the last stage.
    assert macs['backbone'] == pytest.approx(
        0.288_082_368 * (800 * 1344) / 224**2, rel=1e-3
    )
    whole = macs.pop('all')
    assert sum(macs.values()) == pytest.approx(whole)
    assert found['all', size][1] == sum(
        numbers[1]
        for (part, shape), numbers in found.items()
        if shape == size and part != 'all'
    )


def test_parts_of_other_models():
    """Counted independently: 14.7 and 144.7 billion MACs."""
    found = rows(RETINANET, '--path', 'detnas_retinanet_300m')
    neck, head = (found[p, '800x1344'][0] for p in ('neck', 'bbox_head'))
    assert neck / 1e9 == pytest.approx(14.7, abs=0.05)
    assert head / 1e9 == pytest.approx(144.7, abs=0.05)
    path = ('--path', 'detnas_fpn_300m')
    found = rows(RETINANET, *path, '--shape', 448, 448)
    assert found['backbone', '448x448'][0] == 4 * 288_082_368
    found = rows(CONFIGS / 'detnas/detnas-small_8xb128_in1k.py', *path)
    assert found['all', '224x224'][0] == PUBLISHED['detnas_fpn_300m'][2]
