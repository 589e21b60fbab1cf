"""The rooms import downwards only, and look-ups need no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import detnas_mm

PACKAGE = Path(detnas_mm.__file__).parent
LEVELS = {
    'structures': 0,
    'cost': 1,
    'search': 1,
    'models': 1,
    'datasets': 1,
    'evaluation': 2,
    'engine': 3,
    'visualization': 3,
}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob('*/__init__.py'))
# What a room may import of the outside, where that is limited.
PLAIN = {'structures': {'numpy'}, 'cost': {'numpy'}, 'search': {'numpy'}}


def imported_modules(file):
    """Absolute names of all that a file imports, inside functions too."""
    package = ('detnas_mm', *file.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                stem = package[: len(package) - node.level + 1]
                base = '.'.join([*stem, *filter(None, [node.module])])
            yield from (f'{base}.{alias.name}' for alias in node.names)


def imports_of_room(room):
    for file in sorted((PACKAGE / room).rglob('*.py')):
        for module in imported_modules(file):
            yield file.name, module


def test_every_room_has_a_level():
    assert set(ROOMS) <= set(LEVELS)
    assert set(PLAIN) <= set(ROOMS)


@pytest.mark.parametrize('room', ROOMS)
def test_room_imports_only_rooms_below(room):
    for file, module in imports_of_room(room):
        parts = module.split('.')
        if parts[0] != 'detnas_mm' or parts[1] in (room, '__version__'):
            continue
        # The package itself offers the rooms' names: not from inside.
        assert parts[1] not in detnas_mm.__all__ or parts[1] == 'cost', (
            file,
            module,
        )
        if parts[1] in LEVELS:
            assert LEVELS[parts[1]] < LEVELS[room], (file, module)


@pytest.mark.parametrize('room', PLAIN)
def test_plain_rooms_import_little(room):
    allowed = set(sys.stdlib_module_names) | PLAIN[room]
    for file, module in imports_of_room(room):
        first, *rest = module.split('.')
        if first == 'detnas_mm':
            assert rest[0] in {'structures', room}, (file, module)
        else:
            assert first in allowed, (file, module)


@pytest.mark.skipif('visualization' not in ROOMS, reason='no such room yet')
def test_visualization_sees_records_only():
    for file, module in imports_of_room('visualization'):
        if module.startswith('detnas_mm.'):
            room = module.split('.')[1]
            assert room in {'structures', 'visualization'}, (file, module)


@pytest.mark.parametrize('room', PLAIN)
def test_plain_rooms_work_where_torch_is_not_installed(room):
    program = f"""
import sys

class NotInstalled:
    def find_spec(name, path=None, target=None):
        if name.split('.')[0] in {{'torch', 'torchvision', 'mmengine',
                                   'mmcv', 'mmdet', 'mmpretrain'}}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled)
import detnas_mm.{room}
from detnas_mm import SEARCH_SPACES, cost
print(cost.backbone_macs(SEARCH_SPACES['small'], (0,) * 20))
"""
    result = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True
    )
    # 262,705,856: measured on the authors' network.
    assert result.stdout == '262705856\n', result.stderr
