"""The page on reproducing the paper, and which runs stand for which configs.

test_stand_in_runs.py runs two iterations of some configs. The tests here show
that the runs of all other configs would be the same.
"""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import modelindex
import pytest
import torchvision
import yaml
from kit.configs import NAMES, RESNETS, for_each, read_config
from kit.digits_runs import ROOT
from kit.stand_in_runs import RUNS, SLOW_RUNS
from mmengine.config import Config

from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.models import resolve_architecture

PAGE = ROOT / 'docs' / 'reproduce.md'
SETTINGS = ('_cfg', '_dataloader', '_evaluator', '_wrapper')


@functools.cache
def essence(name):
    """Returns the settings that make two runs differ.

    Left out are the numbers of the schedule, the path of the net (its widths
    are in the neck), the file of the weights that a training starts from,
    and variables that only other settings refer to.
    """
    config = read_config(name).to_dict()
    backbone = config['model']['backbone']
    # A search takes all weights from the supernet.
    started = '-search-' not in name and backbone.get('init_cfg')
    backbone['init_cfg'] = bool(started)
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


def test_what_makes_runs_differ():
    """A longer schedule or another path does not, the data do."""
    net = 'detnas/retinanet_detnas-small_fpn_1x_coco'
    assert essence(net) == essence(net.replace('1x', '2x'))
    assert essence(net) != essence(net.replace('coco', 'voc0712'))
    assert essence(net) != essence(net.replace('small', 'large'))
    supernet = net.replace('detnas-small', 'detnas-supernet-small')
    scratch = net.replace(
        'detnas-small_fpn_1x', 'detnas-scratch-supernet-small_fpn_2x'
    )
    # Without pre-trained weights.
    assert essence(supernet) != essence(scratch)


@functools.cache
def run_of(name):
    """Returns the one config whose run stands for a config."""
    runs = [r for r in (*RUNS, *SLOW_RUNS) if essence(r) == essence(name)]
    assert len(runs) == 1, runs
    return runs[0]


def test_one_of_each_kind_is_run_by_default():
    """A kind is a stage, a class of backbone, and a detector or data."""
    for name in NAMES:
        run_of(name)

    def kinds(name):
        model = read_config(name).model
        kind = '-search-' in name, model.backbone.type
        return {(*kind, model.type), (*kind, name.rpartition('_')[2])}

    assert set().union(*map(kinds, RUNS)) == set().union(*map(kinds, NAMES))


def rows():
    """Returns the rows of the page's tables, as lists of cells."""
    lines = PAGE.read_text().splitlines()
    tables = [
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in lines
        if line.startswith('|') and not line.startswith('|---')
    ]
    return [cells for cells in tables if len(cells) == 6 and '`' in cells[1]]


def run_shell(folder, *lines, **settings):
    """Runs the page's functions in a shell that prints its commands.

    Only the command that draws random nets is run.
    """
    drawing = 'tools/misc/random_nets.py'
    (functions,) = re.findall(
        r'```bash\n(\w+\(\).*?)```', PAGE.read_text(), re.S
    )
    script = [
        'bash() { echo "$@"; }',
        f'python() {{ if [ "$1" = {drawing} ]; then shift;',
        f'{sys.executable} {ROOT}/{drawing} "$@"; else echo "$@"; fi; }}',
        functions,
        *lines,
    ]
    return subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', '\n'.join(script)],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )


def test_commands_of_the_page_name_files_that_exist(tmp_path):
    commands = [re.findall('`([^`]+)`', cells[1]) for cells in rows()]
    done = run_shell(tmp_path, *(line for row in commands for line in row))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) > 100
    for line in lines:
        for file in re.findall(r'(?:configs|tools)/\S+\.(?:py|sh)', line):
            assert (ROOT / file).is_file(), line
        for checkpoint in re.findall(r'work_dirs/\S+\.pth', line):
            folder = Path(checkpoint).parent.name
            (name,) = (n for n in NAMES if n.endswith(f'/{folder}'))
            iterations = read_config(name).train_cfg.max_iters
            assert Path(checkpoint).stem == f'iter_{iterations}', line


@pytest.mark.slow
def test_random_nets_are_trained_tested_and_ranked(tmp_path):
    """Table 5 and Figure 3, with the configs that the page has drawn."""
    blocks = re.findall(r'```bash\n(.*?)```', PAGE.read_text(), re.S)
    done = run_shell(tmp_path, *(b for b in blocks if 'random_nets' in b))
    assert done.returncode == 0, done.stderr
    *runs, search, ranking = done.stdout.splitlines()
    for tool in ('train', 'test'):
        ran = [line for line in runs if f'dist_{tool}.sh' in line]
        files = {re.search(r'configs/random/\S+\.py', run)[0] for run in ran}
        drawn = (tmp_path / 'configs' / 'random').iterdir()
        assert files == {f'configs/random/{file.name}' for file in drawn}
        # ImageNet and four detectors.
        assert len(ran) == len(files) == 20 * 5
    for line in runs[:10]:
        if 'dist_test' in line:
            file = re.search(r'configs/random/\S+\.py', line)[0]
            config = Config.fromfile(tmp_path / file)
            made = f'{Path(file).stem}/iter_{config.train_cfg.max_iters}.pth'
            assert f'work_dirs/{made}' in line
    paths = search.partition('--paths ')[2].split()
    assert len(set(paths)) == 20
    nets = re.findall(r'--net (\d+) work_dirs/(\S+)', ranking)
    assert [path for path, _ in nets] == paths
    for path, folder in nets:
        config = (tmp_path / f'configs/random/{folder}.py').read_text()
        assert f"path='{path}'" in config


def test_work_dirs_of_another_setting_are_refused(tmp_path):
    default = dict(DETNAS_INPUT='bgr255', DETNAS_COCO='2017')
    commands = ('train a 1', 'search a b 1', 'evaluate a 1')
    assert run_shell(tmp_path, *commands, **default).stdout
    for change in (dict(DETNAS_INPUT='rgb'), dict(DETNAS_COCO='2014')):
        for command in commands:
            refused = run_shell(tmp_path, command, **(default | change))
            assert (refused.returncode, refused.stdout) == (1, '')
            assert 'work_dirs is of bgr255 2017, not of ' in refused.stderr
    (tmp_path / 'work_dirs').rename(tmp_path / 'renamed')
    assert run_shell(tmp_path, commands[0], **(default | change)).stdout


def test_weights_of_resnets_are_saved_where_configs_read_them(monkeypatch):
    (code,) = re.findall(r'python -c "(.*?)"\n```', PAGE.read_text(), re.S)
    saved = set()

    def download(url, model_dir, check_hash):
        assert check_hash
        saved.add(f'{model_dir}/{url.rpartition("/")[2]}')

    api = torchvision.models._api
    monkeypatch.setattr(api, 'load_state_dict_from_url', download)
    exec(code, {})
    read = {read_config(n).model.backbone.init_cfg.checkpoint for n in RESNETS}
    assert saved == read


def test_rows_of_the_page():
    """All configs are there, with the runs that stand for them."""
    text = PAGE.read_text()
    assert not [name for name in NAMES if f' {name}' not in text]
    for cells in rows():
        # Until a result is measured, with its data and command.
        assert cells[3] == 'not measured'
        named = re.findall(r'(?:detnas|baselines)/[\w.-]+', cells[1])
        runs = {run_of(name) for name in named if name in NAMES}
        text = re.sub(r'[\[\]]', '', cells[5])
        for run in runs:
            slow = ' (slow)' if run in SLOW_RUNS else ''
            cell = run.partition('/')[2] + slow
            assert cell in text.split('<br>'), (cells[0], run)


METAFILES = [
    yaml.safe_load((ROOT / file).read_text())
    for file in yaml.safe_load((ROOT / 'model-index.yml').read_text())[
        'Import'
    ]
]
MODELS = [model for file in METAFILES for model in file['Models']]


def test_metafiles_are_those_of_openmmlab():
    """OpenMMLab's package manager reads them, and their files exist."""
    index = modelindex.load(str(ROOT / 'model-index.yml'))
    index.check(silent=True)
    assert not index.check_errors
    for file in METAFILES:
        names = {collection['Name'] for collection in file['Collections']}
        for collection in file['Collections']:
            assert (ROOT / collection['README']).is_file()
        for model in file['Models']:
            assert model['In Collection'] in names
            assert (ROOT / model['Config']).is_file()
            assert Path(model['Config']).stem == model['Name']


@for_each(MODELS)
def test_model_of_a_metafile(model):
    """Costs and schedule are exact, and results name who measured them."""
    metadata = model['Metadata']
    source = metadata.get('Source of Results', '')
    metrics = [
        name
        for result in model.get('Results', ())
        for name in result['Metrics']
    ]
    papers = [name for name in metrics if '(paper)' in name]
    assert ('paper' in source) == bool(papers)
    is_measured = len(metrics) > len(papers)
    assert source.startswith('measured') == is_measured
    assert 'Weights' in model or not is_measured

    name = model['Config'].removeprefix('configs/').removesuffix('.py')
    config = read_config(name)
    assert metadata['Iterations'] == config.train_cfg.max_iters
    assert metadata['Batch Size'] == 8 * config.train_dataloader.batch_size
    backbone = config.model.backbone
    if backbone.type == 'ResNet':
        return
    net = resolve_architecture(backbone.path, backbone.get('search_space'))
    space, path = net.search_space, net.path
    macs, params = backbone_macs(space, path), backbone_params(space, path)
    keys = ('Backbone FLOPs', 'Backbone Parameters')
    if '_fpn_' not in name:
        # With a 1x1 convolution to 1024 channels at 7x7, and 1000 classes.
        channels = space.stage_channels[-1]
        macs += channels * 1024 * 49 + 1024 * 1000
        params += (channels + 1) * 1024 + 2 * 1024 + 1025 * 1000
        keys = ('FLOPs', 'Parameters')
    assert tuple(metadata[key] for key in keys) == (macs, params)


@for_each(['configs/baselines/README.md', 'configs/detnas/README.md', PAGE])
def test_costs_on_the_pages_are_those_of_the_metafiles(page):
    text = (ROOT / page).read_text()
    written = set(re.findall(r'\d{1,3}(?:,\d{3}){2,}', text))
    counted = {
        f'{model["Metadata"][key]:,}'
        for model in MODELS
        for key in ('Backbone FLOPs', 'Backbone Parameters')
        if key in model['Metadata']
    }
    # The number of ImageNet's training images.
    assert written - counted <= {'1,231,167'}
