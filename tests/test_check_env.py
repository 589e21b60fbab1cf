"""``python -m detnas_mm.check_env`` for sound, missing, broken stacks."""

import os
import subprocess
import sys
from pathlib import Path

from detnas_mm import check_env
from detnas_mm.compat import versions
from detnas_mm.compat.versions import Problem

ROOT = Path(__file__).parents[1]


def run_without_site_packages(*folders: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, '-S', '-m', 'detnas_mm.check_env'],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, folders))},
        cwd=folders[-1],
        capture_output=True,
        text=True,
    )


def test_sound_stack_is_listed_and_exits_with_0(capsys):
    assert check_env.main() == 0
    output = capsys.readouterr().out
    for name in check_env.MODULES:
        assert f'{name}:' in output
    assert 'ERROR' not in output
    assert versions.installed_version('torch') in output


def test_missing_stack_exits_with_1_and_says_what_to_install():
    result = run_without_site_packages(ROOT)
    assert result.returncode == 1
    assert result.stderr == ''
    assert 'not installed: torch, torchvision' in result.stdout
    assert f'run: pip install {versions.TORCH_PINS}' in result.stdout
    assert 'not installed: mmengine, mmcv, mmdet' in result.stdout


def test_broken_torch_is_reported_and_not_a_crash(tmp_path):
    broken = "raise OSError('libcudart.so: cannot open shared object file')"
    for name in ('torch', 'torchvision'):
        (tmp_path / f'{name}.py').write_text(broken)
    result = run_without_site_packages(tmp_path, ROOT)
    assert result.returncode == 1
    assert result.stderr == ''
    assert 'import torch fails: OSError: libcudart.so' in result.stdout
    assert 'run: pip install --force-reinstall torch==' in result.stdout


def test_compiled_extension_is_recognized(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    (tmp_path / 'mmcv' / '_ext.py').touch()
    result = run_without_site_packages(tmp_path, ROOT)
    assert f'compiled ({tmp_path}' in result.stdout


def test_warning_does_not_change_the_exit_code(monkeypatch, capsys):
    problem = Problem('torch 2.99 is untested', 'pip install x', fatal=False)
    monkeypatch.setattr(versions, 'find_problems', lambda: [problem])
    assert check_env.main() == 0
    output = capsys.readouterr().out
    assert 'WARNING torch 2.99 is untested' in output
    assert 'run: pip install x' in output
