"""The random nets of Figure 3."""

import re
from pathlib import Path

import pytest
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from mmengine.config import Config

from detnas_mm.cost import backbone_macs
from detnas_mm.structures import SEARCH_SPACES

TOOL = 'misc/random_nets.py'


def draw(out, *options):
    """Draws nets; returns the paths in the configs of their pre-training."""
    run_here(TOOL, out, *options)
    return {
        file.name.partition('_')[0]: re.search(
            "path='([0-3]+)'", file.read_text()
        )[1]
        for file in out.glob('*_in1k.py')
    }


def test_twenty_nets_under_the_constraint(tmp_path):
    nets = draw(tmp_path / 'nets')
    assert len(nets) == 20
    assert len(set(nets.values())) == 20
    space = SEARCH_SPACES['small']
    for path in nets.values():
        assert backbone_macs(space, space.parse(path)) <= 300e6


def test_printed_digits_are_one_word(tmp_path):
    """Which --paths of a search takes."""
    printed = run_here(TOOL, tmp_path / 'nets', '--num', 3)
    lines = [line.split() for line in printed.splitlines()]
    assert [name for name, *_ in lines] == [
        f'random-small-{number:02d}' for number in range(3)
    ]
    for name, path, *_ in lines:
        config = (tmp_path / 'nets' / f'{name}_8xb128_in1k.py').read_text()
        assert f"path='{path}'" in config


def test_the_seed_decides(tmp_path):
    one, same, other = (
        draw(tmp_path / str(number), '--num', 3, '--seed', seed)
        for number, seed in enumerate((4, 4, 5))
    )
    assert one == same != other


@pytest.mark.parametrize('detector', ['faster-rcnn', 'retinanet'])
def test_configs_are_those_of_a_searched_net_with_another_path(
    tmp_path, detector
):
    out = tmp_path / 'nets'
    nets = draw(out, '--num', 2, '--detectors', detector, '--data', 'voc0712')
    name, path = 'random-small-01', nets['random-small-01']
    config = Config.fromfile(out / f'{detector}_{name}_fpn_1x_voc0712.py')
    known = Config.fromfile(
        ROOT / f'configs/detnas/{detector}_detnas-small_fpn_1x_voc0712.py'
    )
    assert config.model.backbone.path == path
    assert config.model.backbone.search_space == 'small'
    weights = Path(config.model.backbone.init_cfg.checkpoint)
    assert (out / f'{weights.parent.name}.py').is_file()
    for one in (config, known):
        del one.model.backbone
        for variable in ('pretrained', 'search'):
            one.pop(variable, None)
    assert config.to_dict() == known.to_dict()


def test_refuses_a_constraint_that_no_net_keeps(tmp_path, capsys):
    with pytest.raises(SystemExit):
        draw(tmp_path / 'nets', '--max-macs', 1e6)
    assert 'no path keeps the bounds' in capsys.readouterr().err
    assert not (tmp_path / 'nets').exists()
