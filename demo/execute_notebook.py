"""Run all cells of the notebook and store their outputs in it.

Run this again when a cell or its output has changed:

    python demo/execute_notebook.py
"""

import re
from pathlib import Path

import nbclient
import nbformat

from detnas_mm.utils.files import text_digest, write_atomically

NOTEBOOK = Path(__file__).resolve().with_name('digits_search.ipynb')
# Metadata key for the digest of the sources that gave the outputs.
DIGEST = 'executed_sources'


def sources_digest(notebook: nbformat.NotebookNode) -> str:
    """Return the digest of all code cells."""
    sources = [one.source for one in notebook.cells if one.cell_type == 'code']
    return text_digest('\n\n'.join(sources))


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells and store their outputs.

    Output to stderr is dropped, since it has warnings of this machine.

    Args:
        notebook: The notebook.
        folder: Working folder of the kernel.
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
    """Remove colors, line ends and paths that depend on the machine."""
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
