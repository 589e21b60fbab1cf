"""Contents of a wheel and of an editable install."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip('wheel')

ROOT = Path(__file__).parents[1]
FILES = (
    *('setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in'),
    *('LICENSE', 'README.md', 'model-index.yml'),
)


def run(*arguments: object, **settings) -> subprocess.CompletedProcess:
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        **settings,
    )
    assert result.returncode == 0, result.stderr
    return result


def copy_project(folder: Path) -> Path:
    """Copy the project without the results of earlier builds."""
    ignore = shutil.ignore_patterns('__pycache__', '.mim')
    for name in FILES:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    for name in ('detnas_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    return folder


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    project = copy_project(tmp_path_factory.mktemp('project'))
    stale = project / 'build' / 'lib' / 'detnas_mm' / 'removed_long_ago.py'
    stale.parent.mkdir(parents=True)
    stale.touch()
    options = ('--no-deps', '--no-build-isolation', '--no-index', '-q')
    run('-m', 'pip', 'wheel', *options, '.', cwd=project)
    (file,) = project.glob('*.whl')
    with zipfile.ZipFile(file) as archive:
        yield archive


def test_contents_of_the_wheel(wheel):
    names = set(wheel.namelist())
    assert 'detnas_mm/.mim/model-index.yml' in names
    assert 'detnas_mm/visualization/templates/report.html' in names
    modules, tools = set(), set()
    for folder in ('configs', 'tools', 'detnas_mm'):
        for file in (ROOT / folder).rglob('*.py'):
            path = file.relative_to(ROOT)
            if folder != 'detnas_mm':
                tools.add(f'detnas_mm/.mim/{path.as_posix()}')
            elif '.mim' not in path.parts:
                modules.add(path.as_posix())
    # Templates of projects, and scripts.
    for file in (ROOT / 'tools').rglob('*.*'):
        if file.suffix in ('.txt', '.sh'):
            assert f'detnas_mm/.mim/{file.relative_to(ROOT)}' in names
    # Nothing is left of an earlier build.
    assert modules | tools == {name for name in names if name.endswith('.py')}
    top_level = {name.split('/')[0] for name in names}
    assert {name for name in top_level if not name.endswith('.dist-info')} == {
        'detnas_mm',
        'detnas_mm.pth',
    }


def test_wheel_requires_no_mm_package(wheel):
    (name,) = (n for n in wheel.namelist() if n.endswith('/METADATA'))
    lines = wheel.read(name).decode().splitlines()
    required = [
        line
        for line in lines
        if line.startswith('Requires-Dist') and 'extra ==' not in line
    ]
    assert required
    assert not [line for line in required if 'mm' in line]
    extras = {line for line in lines if line.startswith('Provides-Extra')}
    for extra in ('openmmlab', 'onedl', 'dev', 'ray'):
        assert f'Provides-Extra: {extra}' in extras


def test_mmdet_runs_after_installing_without_an_import_of_detnas_mm(
    wheel, tmp_path
):
    wheel.extractall(tmp_path)
    code = f"""
import site, sys
site.addsitedir({str(tmp_path)!r})
assert not [name for name in sys.modules if name.startswith('detnas_mm')]
import mmdet, mmcv.ops, torch
assert 'builtins.getattr' in [
    pair[1] for pair in torch.serialization.get_safe_globals()
    if isinstance(pair, tuple)
]
print(mmcv.ops.nms(torch.ones(1, 4), torch.ones(1), 0.5)[1].tolist())
"""
    # This project is on the path only by the folder added above.
    environment = {**os.environ, 'PYTHONPATH': ''}
    result = run('-c', code, env=environment, cwd=tmp_path)
    assert result.stdout.strip() == '[0]'


def test_startup_file_is_silent_when_the_package_is_gone(wheel, tmp_path):
    wheel.extract('detnas_mm.pth', tmp_path)
    (tmp_path / 'mmcv.py').touch()
    code = f'import site; site.addsitedir({str(tmp_path)!r}); import mmcv'
    environment = {**os.environ, 'PYTHONPATH': ''}
    result = run('-S', '-c', code, env=environment, cwd=tmp_path)
    assert (result.stdout, result.stderr) == ('', '')


def test_editable_install_links_mim_and_has_the_startup_file(tmp_path):
    project = copy_project(tmp_path)
    code = 'import setuptools.build_meta as b; b.build_editable(".")'
    run('-c', code, cwd=project)
    (file,) = project.glob('*.whl')
    with zipfile.ZipFile(file) as archive:
        assert 'detnas_mm.pth' in archive.namelist()
    for name in ('configs', 'tools', 'model-index.yml'):
        linked = project / 'detnas_mm' / '.mim' / name
        assert linked.resolve() == (project / name).resolve()
