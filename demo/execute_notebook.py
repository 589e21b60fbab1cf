"""Runs the notebook from its first to its last cell, and keeps the outputs.

Run it again whenever a cell, or what a cell shows, has changed:

    python demo/execute_notebook.py
"""

import re
from pathlib import Path

import nbclient
import nbformat

from detnas_mm.utils.files import text_digest, write_atomically

NOTEBOOK = Path(__file__).resolve().with_name('digits_search.ipynb')
# Where a notebook keeps of which sources its outputs are.
DIGEST = 'executed_sources'


def sources_digest(notebook: nbformat.NotebookNode) -> str:
    """Returns the digest of all code cells."""
    sources = [one.source for one in notebook.cells if one.cell_type == 'code']
    return text_digest('\n\n'.join(sources))


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Runs all cells, which get their outputs.

    What goes to stderr is dropped, warnings of this machine.

    Args:
        notebook: The notebook.
        folder: Where it runs.
    """
    client = nbclient.NotebookClient(
        notebook,
        timeout=3600,
        kernel_name='python3',
        record_timing=False,
        resources={'metadata': {'path': str(folder)}},
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == 'code':
            cell.outputs = [
                _portable(one)
                for one in cell.outputs
                if one.get('name') != 'stderr'
            ]


def _portable(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leaves colours, ends of lines and paths of this machine out."""
    if 'text' in output:
        text = re.sub(r'\x1b\[[\d;]*m', '', output.text)
        text = text.replace('\r\n', '\n')
        output.text = text.replace(f'{NOTEBOOK.parents[1]}/', '')
    return output


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    execute(notebook, NOTEBOOK.parent)
    notebook.metadata = dict(
        kernelspec=notebook.metadata.kernelspec,
        language_info=dict(name='python'),
    )
    notebook.metadata[DIGEST] = sources_digest(notebook)
    write_atomically(NOTEBOOK, nbformat.writes(notebook) + '\n')
    print(f'{NOTEBOOK}: {NOTEBOOK.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    main()
