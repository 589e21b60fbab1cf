"""The page on reproducing the paper: its commands, and what was run of them.

Two iterations of some configs are run (test_stand_in_runs.py). Here it is
shown that the runs of all others would be the same.
"""

import functools
import re
import subprocess
from pathlib import Path

import modelindex
import pytest
import yaml
from kit.configs import NAMES, names_of, read_config
from kit.digits_runs import ROOT
from kit.stand_in_runs import RUNS, SLOW_RUNS

from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.models.searched import resolve_architecture

PAGE = ROOT / 'docs' / 'reproduce.md'
SETTINGS = ('_cfg', '_dataloader', '_evaluator', '_wrapper')


@functools.cache
def essence(name):
    """What tells the run of a config from that of another.

    Left out are the schedule's numbers, the path of the net (its widths
    are in the neck), where its weights come from, and variables that only
    other settings refer to.
    """
    config = read_config(name).to_dict()
    backbone = config['model']['backbone']
    backbone.pop('init_cfg', None)
    if backbone['type'] == 'detnas_mm.DetNASNet':
        for key in ('path', 'search_space'):
            backbone.pop(key, None)
    config['train_cfg'] |= dict(max_iters=None, val_interval=None)
    schedule = config['param_scheduler']
    for part in schedule if isinstance(schedule, list) else [schedule]:
        part |= dict(milestones=None, end=None)
    keys = [key for key in config if key.endswith(SETTINGS)]
    keys += ['model', 'custom_hooks', 'param_scheduler', 'data_preprocessor']
    return tuple(repr((key, config.get(key))) for key in sorted(keys))


@functools.cache
def run_of(name):
    """The config whose run stands for that of a config."""
    (run,) = (r for r in (*RUNS, *SLOW_RUNS) if essence(r) == essence(name))
    return run


@pytest.mark.parametrize('name', NAMES)
def test_one_run_stands_for_each_config(name):
    assert run_of(name) in NAMES


def test_one_of_each_kind_is_run_by_default():
    """Detector, class of backbone, data and stage."""

    def kind(name):
        model = read_config(name).model
        data = name.rpartition('_')[2]
        return model.type, model.backbone.type, data, '-search-' in name

    assert {kind(name) for name in RUNS} == {kind(name) for name in NAMES}


@pytest.mark.parametrize(
    ('one', 'other', 'equal'),
    [
        ('1x', '2x', True),
        ('detnas-fpn-300m', 'detnas-small', True),
        ('detnasnet-1.3g', 'detnas-large', True),
        ('detnasnet-1.3g', 'detnasnet-3.8g', False),
        ('detnas-large', 'detnas-small', False),
        ('faster-rcnn', 'retinanet', False),
        ('1x_coco', '1x_voc0712', False),
        ('detnas-small', 'detnas-supernet-small', False),
        ('supernet-small', 'search-small', False),
    ],
)
def test_nothing_else_is_left_out(one, other, equal):
    pairs = [
        (name, name.replace(one, other))
        for name in names_of('detnas')
        if '_fpn_' in name and one in name
    ]
    pairs = [pair for pair in pairs if pair[1] in NAMES]
    assert pairs
    for first, second in pairs:
        assert (essence(first) == essence(second)) == equal, (first, second)


def rows():
    """The rows of the page's tables, as lists of cells."""
    lines = PAGE.read_text().splitlines()
    tables = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in lines
        if line.startswith('|') and not line.startswith('|---')
    ]
    return [cells for cells in tables if len(cells) == 6 and '`' in cells[1]]


def shell_functions():
    """The functions that the page defines for its commands."""
    (block,) = re.findall(r'```bash\n(\w+\(\).*?)```', PAGE.read_text(), re.S)
    return block


def commands(cells):
    return re.findall('`([^`]+)`', cells[1])


def test_every_config_is_on_the_page():
    text = PAGE.read_text()
    missing = [name for name in NAMES if f' {name}' not in text]
    assert not missing


def test_commands_of_the_page_name_files_that_exist(tmp_path):
    """All of them, with a shell that prints what it would run."""
    script = [
        'bash() { echo "$@"; }',
        'python() { echo "$@"; }',
        shell_functions(),
        *(command for cells in rows() for command in commands(cells)),
    ]
    done = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', '\n'.join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 100
    for line in lines:
        if '/random' in line:
            # Written by the command before: see test_random_nets.py.
            continue
        for file in re.findall(r'(?:configs|tools)/\S+\.(?:py|sh)', line):
            assert (ROOT / file).is_file(), line
        for checkpoint in re.findall(r'work_dirs/\S+\.pth', line):
            folder = Path(checkpoint).parent.name
            (name,) = (n for n in NAMES if n.endswith(f'/{folder}'))
            iterations = read_config(name).train_cfg.max_iters
            assert Path(checkpoint).stem == f'iter_{iterations}', line


def test_iterations_of_the_commands_are_those_of_the_configs():
    text = PAGE.read_text()
    trained = re.findall(r'`(?:train|evaluate) (\S+) (\d+)`', text)
    searched = re.findall(r'`search \S+ (\S+) (\d+)', text)
    assert len(trained) > 100
    assert len(searched) > 10
    for name, iterations in trained + searched:
        # The random nets have configs like those of a searched one.
        name = re.sub(r'^random/', 'detnas/', name)
        name = re.sub(r'random-small-\d+', 'detnas-small', name)
        assert read_config(name).train_cfg.max_iters == int(iterations)


def test_page_says_which_runs_stand_for_a_row():
    for cells in rows():
        named = re.findall(r'(?:detnas|baselines)/[\w.-]+', cells[1])
        runs = {run_of(name) for name in named if name in NAMES}
        text = re.sub(r'[\[\]]', '', cells[5])
        for run in runs:
            assert run.partition('/')[2] in text, (cells[0], run)


def test_page_claims_no_result_of_ours():
    """Until one is measured, with what and how."""
    assert {cells[3] for cells in rows()} == {'not measured'}


def metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    for file in index['Import']:
        yield yaml.safe_load((ROOT / file).read_text())


def models_of_metafiles():
    return [model for file in metafiles() for model in file['Models']]


def test_metafiles_are_those_of_openmmlab():
    """As its package manager reads them, with what they refer to."""
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    index.check(silent=True)
    assert not index.check_errors
    for file in metafiles():
        names = {collection['Name'] for collection in file['Collections']}
        for collection in file['Collections']:
            assert (ROOT / collection['README']).is_file()
        for model in file['Models']:
            assert model['In Collection'] in names
            assert (ROOT / model['Config']).is_file()
            assert Path(model['Config']).stem == model['Name']


def test_numbers_of_metafiles_say_who_measured_them():
    """What is measured here comes with the weights that it is of."""
    for model in models_of_metafiles():
        source = model['Metadata'].get('Source of Results', '')
        results = model.get('Results', [])
        metrics = [name for one in results for name in one['Metrics']]
        papers = [name for name in metrics if '(paper)' in name]
        assert ('paper' in source) == bool(papers)
        measured = len(metrics) > len(papers)
        assert source.startswith('measured') == measured
        assert 'Weights' in model or not measured


@pytest.mark.parametrize(
    'model', models_of_metafiles(), ids=lambda model: model['Name']
)
def test_costs_and_schedules_of_metafiles(model):
    name = model['Config'].removeprefix('configs/').removesuffix('.py')
    config, metadata = read_config(name), model['Metadata']
    assert metadata['Iterations'] == config.train_cfg.max_iters
    assert metadata['Batch Size'] == 8 * config.train_dataloader.batch_size
    backbone = config.model.backbone
    if backbone.type == 'ResNet':
        return
    net = resolve_architecture(backbone.path, backbone.get('search_space'))
    space, path = net.search_space, net.path
    if '_fpn_' in name:
        assert metadata['Backbone FLOPs'] == backbone_macs(space, path)
        assert metadata['Backbone Parameters'] == backbone_params(space, path)
        return
    # With 1x1 convolution to 1024 channels at 7x7, and 1000 classes.
    channels = space.stage_channels[-1]
    neck = (channels + 1) * 1024 + 2 * 1024
    macs = backbone_macs(space, path) + channels * 1024 * 49 + 1024 * 1000
    params = backbone_params(space, path) + neck + 1025 * 1000
    assert (metadata['FLOPs'], metadata['Parameters']) == (macs, params)


@pytest.mark.parametrize('page', ['baselines', 'detnas', 'reproduce'])
def test_costs_on_the_pages_are_those_of_the_metafiles(page):
    file = PAGE if page == 'reproduce' else ROOT / f'configs/{page}/README.md'
    written = set(re.findall(r'\d{1,3}(?:,\d{3}){2,}', file.read_text()))
    counted = {
        f'{model["Metadata"][key]:,}'
        for model in models_of_metafiles()
        for key in ('Backbone FLOPs', 'Backbone Parameters')
        if key in model['Metadata']
    }
    # The number of ImageNet's training images.
    assert written - counted <= {'1,231,167'}
