"""Imported by the server of search processes: has all imports done.

Much of torch and mmengine is imported when it is first used.
"""

import tempfile
from pathlib import Path

from .search_process import search

with tempfile.TemporaryDirectory() as folder:
    search(Path(folder) / 'search', generations=1)
