"""The notebook: its commands, its stored outputs, and a run of all cells.

The run is in this process, with few images. In a kernel of its own, and with
a process for each command, it takes minutes:
``pytest -m slow tests/test_tools/test_notebook.py``.
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from kit.results import write_best

from detnas_mm.utils.cli import load_config

nbclient = pytest.importorskip('nbclient')
nbformat = pytest.importorskip('nbformat')
pytest.importorskip('ipykernel')
TransformerManager = pytest.importorskip(
    'IPython.core.inputtransformer2'
).TransformerManager

TOOL = runpy.run_path(str(ROOT / 'demo' / 'execute_notebook.py'))
NOTEBOOK = TOOL['NOTEBOOK']
SMALL = """
SIZES = '--train-images 16 --search-images 8 --test-images 8'
SIZES += ' --train-crops 2 --val-crops 1'
EPOCHS = 2
GENERATIONS, POPULATION, PARENTS = 1, 2, 2
CALIBRATION_IMAGES = 8
DATA, WORK = 'data', 'work'
"""


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def shown(cells):
    """All that cells show, as text."""
    return '\n'.join(str(out) for cell in cells for out in cell.outputs)


def images(cells):
    outputs = [out for cell in cells for out in cell.outputs]
    return [out for out in outputs if 'image/png' in out.get('data', {})]


class Shell:
    """Stands in for that of a kernel.

    Args:
        run: Runs a tool with its arguments; returns what it prints.
    """

    def __init__(self, run):
        self.run = run
        self.names = dict(get_ipython=lambda: self)
        self.commands = []
        self.shown = ''

    def system(self, command):
        command = command.format_map(self.names)
        command, _, shown = command.partition(' 2>&1 | ')
        python, w, ignore, *arguments = shlex.split(command)
        assert (python, w, ignore) == (sys.executable, '-W', 'ignore')
        self.commands.append(arguments)
        output = self.run(*arguments)
        self.shown += subprocess.run(
            ['bash', '-c', shown or 'cat'],
            input=output,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def execute(self, cells):
        for cell in cells:
            code = TransformerManager().transform_cell(cell.source)
            exec(code, self.names)


def parsed(tool, *arguments):
    """The arguments of a tool, as it reads them."""
    with patch.object(sys, 'argv', [tool, *arguments]):
        return runpy.run_path(tool)['parse_args']()


def test_cells_are_commands_that_the_tools_take(notebook, folder):
    shell = Shell(run=lambda *arguments: '')
    cells = code_cells(notebook)
    (figures,) = [
        i for i, cell in enumerate(cells) if 'display(' in cell.source
    ]
    shell.execute(cells[:figures])
    digits, train, search, report = shell.commands
    assert Path(digits[0]).name == 'digits.py'
    data = parsed(*digits).out
    args = parsed(*train)
    config = load_config(args)
    for part in ('train', 'val'):
        root = config[f'{part}_dataloader'].dataset.data_root
        assert root == f'{data}/'
    last = f'{args.work_dir}/epoch_{config.train_cfg.max_epochs}.pth'
    args = parsed(*search)
    assert args.checkpoint == last
    config = load_config(args)
    assert config.val_cfg.type == 'detnas_mm.EvolutionSearchLoop'
    assert parsed(*report).work_dirs == [Path(args.work_dir)]


def test_outputs_belong_to_the_cells(notebook):
    """Else: python demo/execute_notebook.py."""
    digest = TOOL['sources_digest'](notebook)
    assert notebook.metadata[TOOL['DIGEST']] == digest
    cells = code_cells(notebook)
    assert len(images(cells)) == 3
    text = shown(cells)
    assert 'Search [' in text
    assert 'Epoch(val)' in text
    # No absolute paths of any machine.
    assert not re.findall(r'[\s\'"(=]/\w[\w.-]*/', text)
    for machine in (ROOT, sys.prefix, sys.base_prefix, Path.home()):
        assert str(machine) not in text
    assert NOTEBOOK.stat().st_size < 500_000


def test_config_that_is_shown_is_as_searches_write_it(notebook, tmp_path):
    (output,) = code_cells(notebook)[-1].outputs
    of_notebook, written = {}, {}
    exec(output.text, of_notebook)
    exec(write_best(tmp_path).read_text(), written)
    assert set(of_notebook) == set(written)
    keys = set(written['searched_backbone'])
    assert set(of_notebook['searched_backbone']) == keys


def make_small(notebook):
    (settings,) = [
        cell
        for cell in notebook.cells
        if 'parameters' in cell.metadata.get('tags', ())
    ]
    settings.source = SMALL


def test_cells_search_and_show_the_result(
    notebook, folder, monkeypatch, capsys
):
    figures = []
    monkeypatch.setattr('IPython.display.display', figures.append)
    make_small(notebook)
    shell = Shell(
        lambda tool, *args: run_here(Path(tool).relative_to('tools'), *args)
    )
    shell.execute(code_cells(notebook))
    assert shell.shown.count('Epoch(train)') == 2
    searched = re.findall(r'^Search \[.*mAP.*', shell.shown, re.M)
    assert len(searched) == 2
    assert re.findall('^Generation .*', shell.shown, re.M)
    assert len(figures) == 3
    assert all(figure.data.startswith(b'\x89PNG') for figure in figures)
    shapes = [tuple(level.shape) for level in shell.names['features']]
    assert shapes[0] == (1, 32, 32, 32)
    assert shapes[-1] == (1, 256, 4, 4)
    assert 'searched_backbone = dict(' in capsys.readouterr().out


@pytest.mark.slow
def test_notebook_searches_and_shows_the_result(notebook, folder, monkeypatch):
    make_small(notebook)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv(
        'PATH', os.path.dirname(sys.executable) + os.pathsep + os.defpath
    )
    TOOL['execute'](notebook, folder)
    cells = code_cells(notebook)
    assert len(images(cells)) == 3
    text = shown(cells)
    assert '(1, 32, 32, 32), (1, 64, 16, 16)' in text
    assert 'searched_backbone = dict(' in text
    assert (folder / 'work' / 'search' / 'report.html').exists()
