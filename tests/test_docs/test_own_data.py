"""The page on your own data: its commands and configs, run on the digits."""

import argparse
import json
import re
import shlex
import subprocess
from math import isfinite
from pathlib import Path

import pytest
import torch
from kit.configs import NAMES
from kit.digits_runs import ROOT, read_candidates
from kit.results import write_best
from kit.stand_in_runs import checkpoint, shrink, split, write_weights
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from detnas_mm.models import DetNASNet
from detnas_mm.utils.cli import add_common_arguments, load_config

PAGE = (ROOT / 'docs' / 'own_data.md').read_text()
USE_PAGE = (ROOT / 'docs' / 'use_backbone.md').read_text()
EXAMPLE = ROOT / 'docs' / 'examples' / 'own_data'
DRY_RUN = Path('docs/examples/own_data/dry_run.sh')
SUPERNET = 'retinanet_detnas-supernet-small_fpn_mine'
SEARCH = 'retinanet_detnas-search-small_fpn_mine'
NET = 'retinanet_detnas-small_fpn_mine'
PRE_TRAINING = 'detnas-small_8xb128_in1k_mine'


@pytest.fixture
def workplace(digits, tmp_path, monkeypatch):
    """A folder with the digits as data/mine, and the configs of the page."""
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'mine').symlink_to(digits)
    (tmp_path / 'docs').symlink_to(ROOT / 'docs')
    (tmp_path / 'configs').mkdir()
    for name in ('_base_', 'detnas'):
        link = tmp_path / 'configs' / name
        link.symlink_to(ROOT / 'configs' / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_page(iterations=3000):
    """Runs the shell blocks of the page and returns the python commands.

    The configs are copied; ``python`` and ``bash`` print their arguments.
    """
    text = '\n'.join(re.findall(r'```bash\n(.*?)```', PAGE, re.S))
    text = text.replace('ITERATIONS=3000', '')
    stubs = 'python() { echo "$@"; }; bash() { echo "$@"; }\n'
    done = subprocess.run(
        ['bash', '-euc', f'{stubs}ITERATIONS={iterations}\n{text}'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in done.stdout.splitlines()]
    return [command for command in commands if command[0] != str(DRY_RUN)]


def converter_arguments():
    tool = 'tools/dataset_converters/coco_search_split.py'
    (found,) = (command for command in run_page() if command[0] == tool)
    return found[1:]


def edit_config(name, pattern, replacement):
    file = Path(f'configs/mine/{name}.py')
    text, changes = re.subn(pattern, replacement, file.read_text(), flags=re.M)
    assert changes == 1
    file.write_text(text)


def leave_out_imagenet():
    """Changes the configs as the page describes."""
    edit_config(SUPERNET, r'^pretrained = .*$', 'pretrained = None')


def read_command(arguments):
    """Returns the config of a command, and the work dirs that it needs."""
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    add_common_arguments(parser)
    args, unknown = parser.parse_known_args(arguments)
    return load_config(args), [text for text in unknown if 'work_dirs' in text]


@pytest.mark.parametrize('imagenet', [True, False])
def test_each_command_finds_what_it_starts_from(workplace, imagenet):
    commands = run_page(3000 if imagenet else 6000)
    if not imagenet:
        leave_out_imagenet()
        commands = [
            [part for part in command if 'in1k' not in part]
            for command in commands
            if 'in1k' not in command[1]
        ]
    commands = [c for c in commands if 'converters' not in c[0]]
    if imagenet:
        assert commands.pop()[-1] == '--auto-scale-lr'
    assert len(commands) == (9 if imagenet else 6)
    made = set()
    for tool, *arguments in commands:
        config, needed = read_command(arguments)
        backbone = config.model.backbone
        if str(backbone.get('path')).endswith('.json'):
            needed.append(backbone.path)
        weights = (backbone.get('init_cfg') or {}).get('checkpoint')
        if 'train' in tool and weights:
            needed.append(weights)
        assert set(needed) <= made, arguments
        iterations = config.train_cfg.max_iters
        # An interrupted training has a checkpoint to continue from.
        assert config.default_hooks.checkpoint.interval <= iterations / 4
        made_here = f'iter_{iterations}.pth'
        if 'search' in tool:
            made_here = 'best.json'
        if 'test' not in tool:
            # No command continues the work of another.
            assert f'{config.work_dir}/{made_here}' not in made
            made.add(f'{config.work_dir}/{made_here}')
        if 'mine' in arguments[0]:
            work_dirs = {name.partition('/')[2] for name in NAMES}
            assert Path(config.work_dir).name not in work_dirs


def test_dry_run_is_short_and_goes_from_step_to_step(workplace):
    run_page()
    assert f'bash {DRY_RUN}\n' in PAGE
    stub = f'python() {{ echo "$@"; }}; . {DRY_RUN}'
    printed = subprocess.check_output(['bash', '-c', stub], text=True)
    made = set()
    for line in printed.splitlines():
        tool, *arguments = shlex.split(line)
        if 'converters' in tool:
            images = f'detnas_search{arguments[-3]}.json'
            assert arguments[-2:] == ['--search-images', '16']
            continue
        config, needed = read_command(arguments)
        # A search needs the same images in both places.
        file = Path(config.val_dataloader.dataset.ann_file)
        assert file.name == images
        assert config.val_evaluator.ann_file == f'data/mine/{file}'
        # For one-stage and for two-stage detectors.
        thresholds = config.model.test_cfg
        assert thresholds.score_thr == thresholds.rcnn.score_thr == 0.0
        if 'search' in tool:
            loop = config.val_cfg
            assert loop.generations * loop.algorithm.population == 8
            made.add(f'{config.work_dir}/best.json')
        else:
            assert config.train_cfg.max_iters == 10
            assert config.default_hooks.logger.interval == 1
            assert config.model.backbone.init_cfg is None
            needed = [str(config.model.backbone.get('path', ''))]
            made |= {f'{config.work_dir}/iter_10.pth', ''}
        assert set(needed) <= made
        if config.custom_hooks:
            assert config.custom_hooks[1].num_images == 16
        # The real steps do not use its results.
        assert '/mine_dry_run/' in config.work_dir


def test_baseline_is_another_net_from_its_own_weights(workplace):
    (*_, pre_training, training, test, _) = run_page()
    config, _ = read_command(training[1:])
    settings = dict(config.model.backbone)
    started = Path(settings.pop('init_cfg').checkpoint)
    assert settings.pop('type') == 'detnas_mm.DetNASNet'
    assert DetNASNet(**settings).path == (0,) * 20
    before, _ = read_command(pre_training[1:])
    assert before.model.backbone.path == config.model.backbone.path
    assert str(started.parent) == before.work_dir
    after, (tested,) = read_command(test[1:])
    assert after.model.backbone.path == config.model.backbone.path
    assert str(Path(tested).parent) == config.work_dir
    # The options for one GPU lengthen the schedule.
    (options,) = re.findall(r'`--cfg-options\s(train_cfg\S+\s\S+)`', PAGE)
    config, _ = read_command(
        [f'configs/mine/{PRE_TRAINING}.py', '--cfg-options', *options.split()]
    )
    assert config.train_cfg.max_iters == config.param_scheduler.end == 2400000
    assert f'`iter_{config.train_cfg.max_iters}.pth`' in PAGE


@pytest.mark.slow
@pytest.mark.parametrize('imagenet', [True, False])
def test_digits_take_the_whole_way(workplace, capsys, imagenet):
    def small(name):
        config = Config.fromfile(f'configs/mine/{name}.py')
        return shrink(config, f'own_data/{name}')

    arguments = converter_arguments()
    arguments[arguments.index('--search-images') + 1] = '6'
    split('coco', *arguments)
    printed = capsys.readouterr().out
    assert 'train, search and test (8 images) share no image' in printed

    if imagenet:
        checkpoint('detnas/detnas-supernet-small_8xb128_in1k')
    else:
        leave_out_imagenet()
    Runner.from_cfg(small(SUPERNET)).train()

    config = small(SEARCH)
    config.load_from = f'work_dirs/{SUPERNET}/iter_2.pth'
    Runner.from_cfg(config).val()
    candidates = read_candidates(config.work_dir)
    assert [c['status'] for c in candidates] == ['complete'] * 2

    config = small(NET)
    best = json.loads((workplace / config.search / 'best.json').read_text())
    if imagenet:
        pre_training = Config.fromfile(f'configs/mine/{PRE_TRAINING}.py')
        write_weights(pre_training, workplace / config.pretrained)
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.model.backbone.path == tuple(map(int, best['path']))
    assert isfinite(runner.message_hub.get_scalar('train/loss').current())


def test_faster_rcnn_is_one_word_in_one_config(workplace):
    run_page()
    assert '`faster-rcnn` in place of `retinanet`' in ' '.join(PAGE.split())
    base = r"('\.\./detnas/)retinanet(_\S+')"
    edit_config(SUPERNET, base, r'\1faster-rcnn\2')
    for name in (SUPERNET, SEARCH, NET):
        config = Config.fromfile(f'configs/mine/{name}.py')
        assert 'bbox_head' not in config.model
        assert config.model.roi_head.bbox_head.num_classes == 10
        assert config.optim_wrapper.optimizer.lr == 0.02
        config.model.backbone.init_cfg = None
        if name == NET:
            config.model.backbone.update(search_space='small', path='0' * 20)
        init_default_scope('mmdet')
        with torch.device('meta'):
            model = MODELS.build(config.model)
        assert type(model).__name__ == 'FasterRCNN'


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


def test_configs_read_the_files_of_the_converter(workplace):
    arguments = converter_arguments()
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    search = Config.fromfile(EXAMPLE / f'{SEARCH}.py')
    files = [
        search[f'{part}_dataloader'].dataset.ann_file
        for part in ('train', 'val', 'test')
    ]
    assert files == [
        f'annotations/detnas_train{options["--name"]}.json',
        f'annotations/detnas_search{options["--name"]}.json',
        options['--test-ann-file'],
    ]
    net = Config.fromfile(EXAMPLE / f'{NET}.py')
    assert net.train_dataloader.dataset.ann_file == options['--ann-file']
    assert net.val_dataloader == net.test_dataloader


MINE = dict(
    data_root='/my data',
    train_folder='photos/',
    test_folder='held_out/',
    train_file='all.json',
    train_part='part.json',
    search_part='search.json',
    test_file='held_out.json',
    classes=('cat', 'dog', 'cow'),
    image_scale=(1111, 777),
    flip_prob=0.25,
    batch_size=7,
    calibration_images=99,
    pretrained='my.pth',
    max_iters=900,
)


def test_nothing_outside_the_marked_block_depends_on_the_data(workplace):
    (block,) = re.findall(r'```python\n(.*?)```', PAGE, re.S)
    run_page()
    for name in (SEARCH, SUPERNET):
        file = Path(f'configs/mine/{name}.py')
        (marked,) = re.findall(
            r'^# ==== Edit here.*?=+\n(.*?)^# ==== Nothing to edit below =+\n',
            file.read_text(),
            re.S | re.M,
        )
        assert name == SUPERNET or marked == block
    block = marked
    assert re.findall(r'^(\w+) =', block, re.M) == list(MINE)
    mine = ''.join(f'{name} = {value!r}\n' for name, value in MINE.items())
    file.write_text(file.read_text().replace(block, mine))
    example = {'coco', 'annotations', 'train2017', 'val2017', 'mine'}
    for name in (SUPERNET, SEARCH, NET):
        config = Config.fromfile(f'configs/mine/{name}.py')
        is_net = name == NET
        test_file = '/my data/held_out.json'
        assert config.test_evaluator.ann_file == test_file
        val_file = test_file if is_net else '/my data/search.json'
        assert config.val_evaluator.ann_file == val_file
        for part in ('train', 'val', 'test'):
            dataset = config[f'{part}_dataloader'].dataset
            assert dataset.data_root == MINE['data_root']
            assert dataset.metainfo.classes == MINE['classes']
            words = set(re.split(r'[^a-z0-9]', str(dataset)))
            assert not words & example
            (resize,) = (p for p in dataset.pipeline if p.type == 'Resize')
            assert resize.scale == MINE['image_scale']
        used = 'all.json' if is_net else 'part.json'
        assert config.train_dataloader.dataset.ann_file == used
        assert config.train_dataloader.batch_size == MINE['batch_size']
        assert f"'prob': {MINE['flip_prob']}" in str(config.train_dataloader)
        assert config.model.bbox_head.num_classes == 3
        assert config.train_cfg.max_iters == MINE['max_iters']
        if not is_net:
            assert config.custom_hooks[1].num_images == 99
            assert config.model.backbone.init_cfg.checkpoint == 'my.pth'
