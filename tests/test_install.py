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
PROJECT_FILES = ('setup.py', 'setup.cfg', 'pyproject.toml', 'MANIFEST.in')
OTHER_FILES = ('LICENSE', 'README.md', 'model-index.yml')
FOLDERS = ('detnas_mm', 'configs', 'tools')


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
    for name in (*PROJECT_FILES, *OTHER_FILES):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
    for name in FOLDERS:
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


@pytest.fixture(scope='module')
def site_folder(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('site')
    wheel.extractall(folder)
    return folder


def test_wheel_holds_configs_tools_and_model_index(wheel):
    names = set(wheel.namelist())
    assert 'detnas_mm/.mim/model-index.yml' in names
    for folder in ('configs', 'tools'):
        sources = {
            f'detnas_mm/.mim/{path.relative_to(ROOT).as_posix()}'
            for path in (ROOT / folder).rglob('*.py')
        }
        assert sources
        assert sources <= names


def test_wheel_holds_the_whole_package_and_nothing_else(wheel):
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / 'detnas_mm').rglob('*.py')
        if '.mim' not in path.parts
    }
    template = 'detnas_mm/visualization/templates/report.html'
    assert template in wheel.namelist()
    top_level = {name.split('/')[0] for name in wheel.namelist()}
    packaged = {
        name
        for name in wheel.namelist()
        if name.endswith('.py') and '/.mim/' not in name
    }
    assert packaged == modules
    assert {n for n in top_level if not n.endswith('.dist-info')} == {
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
    site_folder,
):
    code = f"""
import site, sys
site.addsitedir({str(site_folder)!r})
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
    result = run('-c', code, env=environment, cwd=site_folder)
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
