"""The notebook: its stored outputs, and a run of all cells.

The run is in this process, with few images; a kernel of its own and a process
for each command would take minutes.
"""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from kit.results import write_best

pytest.importorskip('nbclient')
nbformat = pytest.importorskip('nbformat')
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


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


class Shell:
    """Stands in for the shell of a kernel: runs tools in this process."""

    def __init__(self):
        self.names = dict(get_ipython=lambda: self)
        self.shown = ''

    def system(self, command):
        command = command.format_map(self.names)
        command, _, shown = command.partition(' 2>&1 | ')
        python, w, ignore, tool, *arguments = shlex.split(command)
        assert (python, w, ignore) == (sys.executable, '-W', 'ignore')
        output = run_here(Path(tool).relative_to('tools'), *arguments)
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


def test_outputs_belong_to_the_cells(notebook):
    """If this fails, run python demo/execute_notebook.py."""
    digest = TOOL['sources_digest'](notebook)
    assert notebook.metadata[TOOL['DIGEST']] == digest
    outputs = [out for cell in code_cells(notebook) for out in cell.outputs]
    images = [out for out in outputs if 'image/png' in out.get('data', {})]
    assert len(images) == 3
    text = '\n'.join(map(str, outputs))
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


@pytest.mark.slow
def test_cells_search_and_show_the_result(
    notebook, tmp_path, monkeypatch, capsys
):
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    figures = []
    monkeypatch.setattr('IPython.display.display', figures.append)
    (settings,) = [
        cell
        for cell in notebook.cells
        if 'parameters' in cell.metadata.get('tags', ())
    ]
    settings.source = SMALL
    shell = Shell()
    shell.execute(code_cells(notebook))
    # The last lines of stage 1 and all lines of stage 2.
    assert shell.shown.count('Epoch(train)') == 3 + 2
    searched = re.findall(r'^Search \[.*mAP.*', shell.shown, re.M)
    assert len(searched) == 2
    assert re.findall('^Generation .*', shell.shown, re.M)
    assert len(figures) == 3
    assert all(figure.data.startswith(b'\x89PNG') for figure in figures)
    shapes = [tuple(level.shape) for level in shell.names['features']]
    assert shapes[0] == (1, 16, 32, 32)
    assert shapes[-1] == (1, 128, 4, 4)
    assert 'searched_backbone = dict(' in capsys.readouterr().out
