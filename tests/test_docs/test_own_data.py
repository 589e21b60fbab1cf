"""The documented way from one's own data to a backbone, run on digits."""

import json
import re
import shlex
from copy import deepcopy
from math import isfinite

import pytest
from kit.configs import read_config
from kit.digits_runs import ROOT, read_candidates
from kit.stand_in_runs import (
    checkpoint,
    shrink,
    split,
    write_weights,
)
from mmengine.config import Config
from mmengine.runner import Runner

PAGE = ROOT / 'docs' / 'own_data.md'
EXAMPLE = ROOT / 'docs' / 'examples' / 'own_data'
SUPERNET = 'retinanet_detnas-supernet-small_fpn_mine'
SEARCH = 'retinanet_detnas-search-small_fpn_mine'
NET = 'retinanet_detnas-small_fpn_mine'
PRE_TRAINING = 'detnas/detnas-small_8xb128_in1k'


@pytest.fixture(scope='module')
def workplace(digits, tmp_path_factory):
    """A folder with the digits as data/mine, split by the page's command."""
    folder = tmp_path_factory.mktemp('own_data')
    (folder / 'data').mkdir()
    (folder / 'data' / 'mine').symlink_to(digits)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def documented_command(tool):
    """Arguments of a command of the page."""
    text = PAGE.read_text().replace('\\\n', ' ')
    (line,) = re.findall(f'^python tools/{tool} (.*)$', text, re.M)
    return shlex.split(line)


def example(name):
    return Config.fromfile(EXAMPLE / f'{name}.py')


def small(name):
    return shrink(example(name), f'own_data/{name}')


def test_digits_take_the_whole_way(workplace, capsys):
    arguments = documented_command('dataset_converters/coco_search_split.py')
    arguments[arguments.index('--search-images') + 1] = '6'
    split('coco', *arguments)
    printed = capsys.readouterr().out
    assert 'train, search and test (8 images) share no image' in printed

    checkpoint('detnas/detnas-supernet-small_8xb128_in1k')
    config = small(SUPERNET)
    Runner.from_cfg(config).train()

    config = small(SEARCH)
    config.load_from = f'work_dirs/{SUPERNET}/iter_2.pth'
    Runner.from_cfg(config).val()
    candidates = read_candidates(config.work_dir)
    assert [one['status'] for one in candidates] == ['complete'] * 2

    config = small(NET)
    best = json.loads((workplace / config.search / 'best.json').read_text())
    pre_training = deepcopy(read_config(PRE_TRAINING))
    pre_training.model.backbone.path = f'{config.search}/best.json'
    write_weights(pre_training, workplace / config.pretrained)
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.model.backbone.path == tuple(map(int, best['path']))
    assert isfinite(runner.message_hub.get_scalar('train/loss').current())


def test_splits_of_the_example_are_distinct():
    """The converter's files are those that the configs read."""
    arguments = documented_command('dataset_converters/coco_search_split.py')
    name = arguments[arguments.index('--name') + 1]
    config = example(SEARCH)
    read = [
        config[f'{split}_dataloader'].dataset.ann_file
        for split in ('train', 'val', 'test')
    ]
    assert read[:2] == [
        f'annotations/detnas_{split}{name}.json'
        for split in ('train', 'search')
    ]
    assert read[2] == arguments[arguments.index('--test-ann-file') + 1]
    net = example(NET)
    ann_file = arguments[arguments.index('--ann-file') + 1]
    assert net.train_dataloader.dataset.ann_file == ann_file
    assert net.val_dataloader == net.test_dataloader


def test_page_shows_the_loop_of_the_example():
    (block,) = re.findall(
        r'```python\n(val_cfg.*?)```', PAGE.read_text(), re.S
    )
    assert block in (EXAMPLE / f'{SEARCH}.py').read_text()
