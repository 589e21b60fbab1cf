"""The notebook runs from its first to its last cell."""

import os
import sys

import pytest
from kit.digits_runs import ROOT

nbclient = pytest.importorskip('nbclient')
nbformat = pytest.importorskip('nbformat')
pytest.importorskip('ipykernel')

NOTEBOOK = ROOT / 'demo' / 'digits_search.ipynb'
SMALL = """
SIZES = '--train-images 16 --search-images 8 --test-images 8'
SIZES += ' --train-crops 2 --val-crops 1'
EPOCHS = 2
GENERATIONS, POPULATION, PARENTS = 1, 2, 2
CALIBRATION_IMAGES = 8
DATA, WORK = 'data', 'work'
"""


@pytest.mark.slow
def test_notebook_searches_and_shows_the_result(tmp_path, monkeypatch):
    for folder in ('tools', 'configs'):
        (tmp_path / folder).symlink_to(ROOT / folder)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (settings,) = [
        cell
        for cell in notebook.cells
        if 'parameters' in cell.metadata.get('tags', ())
    ]
    settings.source = SMALL
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv(
        'PATH', os.path.dirname(sys.executable) + os.pathsep + os.defpath
    )
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name='python3',
        resources={'metadata': {'path': str(tmp_path)}},
    )
    client.execute()
    outputs = [
        out for cell in notebook.cells for out in cell.get('outputs', [])
    ]
    images = [out for out in outputs if 'image/png' in out.get('data', {})]
    assert len(images) == 3
    text = ''.join(str(out) for out in outputs)
    assert '(1, 32, 32, 32), (1, 64, 16, 16)' in text
    assert 'searched_backbone = dict(' in text
    assert (tmp_path / 'work' / 'search' / 'report.html').exists()
