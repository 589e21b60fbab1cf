"""The rooms import downwards only, and look-ups need no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import detnas_mm

PACKAGE = Path(detnas_mm.__file__).parent
# Python runs this file at its start; nothing imports it.
STARTUP = PACKAGE / 'compat' / 'startup.py'
TOOLS = PACKAGE.parent / 'tools'
# From below to above: a module imports only from the layers below its own and
# from its own room. Rooms of one layer do not import each other.
LAYERS = (
    ('version', 'utils'),
    ('compat', 'structures'),
    ('registry',),
    ('cost', 'search', 'datasets', 'evaluation'),
    ('models', 'executors'),
    ('engine', 'projects', 'visualization'),
    ('check_env',),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
# Rooms that work without torch, and the other rooms that they may import.
PLAIN = {
    'structures': {'utils'},
    'cost': {'structures', 'utils'},
    'search': {'structures', 'utils'},
    'visualization': {'structures', 'utils'},
}
# What rooms of little import from outside.
OUTSIDE = {
    'structures': {'numpy'},
    'cost': {'numpy'},
    'search': {'numpy', 'scipy', 'sklearn'},
}


def imported_modules(file):
    """Yield the absolute names of all imports, inside functions too."""
    package = ('detnas_mm', *file.relative_to(PACKAGE.parent).parts[1:-1])
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                stem = package[: len(package) - node.level + 1]
                base = '.'.join([*stem, *filter(None, [node.module])])
            yield from (f'{base}.{alias.name}' for alias in node.names)


def imports_of(name):
    """Yield all imports of a room, with its subfolders, or root module."""
    root_module = PACKAGE / f'{name}.py'
    folder = PACKAGE / name
    files = [root_module] if root_module.exists() else folder.rglob('*.py')
    for file in sorted({*files} - {STARTUP}):
        for module in imported_modules(file):
            yield f'{file.relative_to(PACKAGE)} imports {module}', module


def test_rooms_import_only_from_below():
    rooms = {file.parent.name for file in PACKAGE.glob('*/__init__.py')}
    modules = {file.stem for file in PACKAGE.glob('*.py')} - {'__init__'}
    assert rooms | modules == set(LEVELS)
    problems = []
    for name, level in LEVELS.items():
        for text, module in imports_of(name):
            package, _, rest = module.partition('.')
            room = rest.partition('.')[0]
            if package != 'detnas_mm' or room == name:
                continue
            # The names that the package offers are not for use inside it.
            if LEVELS.get(room, level) >= level:
                problems.append(text)
    assert not problems


def test_plain_rooms_import_little():
    problems = []
    allowed = {*sys.stdlib_module_names, 'detnas_mm'}
    for name, rooms in PLAIN.items():
        for text, module in imports_of(name):
            package, *rest = module.split('.')
            if package == 'detnas_mm' and rest[0] not in {name, *rooms}:
                problems.append(text)
            outside = OUTSIDE.get(name, {package})
            if package not in allowed | outside:
                problems.append(text)
    assert not problems


def test_tools_use_public_names_of_the_package_only():
    problems = []
    for file in TOOLS.rglob('*.py'):
        beside = {path.stem for path in file.parent.glob('*.py')}
        for module in imported_modules(file):
            first, *rest = module.split('.')
            private = [part for part in rest if part.startswith('_')]
            if first == 'detnas_mm' and private:
                problems.append(f'{file} imports {module}')
            if first in ('tests', 'kit', 'tools') and first not in beside:
                problems.append(f'{file} imports {module}')
    assert not problems


def test_import_of_the_package_loads_neither_torch_nor_mm():
    program = """
import sys, detnas_mm
heavy = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain')
assert 'SearchSpace' in dir(detnas_mm)
print([name for name in heavy if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True
    )
    assert result.stdout == '[]\n', result.stderr


def test_plain_rooms_work_where_torch_is_not_installed():
    program = f"""
import sys

class NotInstalled:
    def find_spec(name, path=None, target=None):
        if name.split('.')[0] in {{'torch', 'torchvision', 'mmengine',
                                   'mmcv', 'mmdet', 'mmpretrain'}}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled)
import {', '.join(f'detnas_mm.{room}' for room in PLAIN)}
from detnas_mm import SEARCH_SPACES, cost
print(cost.backbone_macs(SEARCH_SPACES['small'], (0,) * 20))
"""
    result = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True
    )
    # 262,705,856: measured on the authors' network.
    assert result.stdout == '262705856\n', result.stderr
