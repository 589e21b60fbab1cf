"""Accepted versions of the stack, and the reports about all others."""

import sys

import pytest
import torch

from detnas_mm.compat import setup_compat, versions

UPSTREAM = {
    'torch': '2.14.1+cu130',
    'torchvision': '0.29.1',
    'setuptools': '80.10.2',
    'mmengine': '0.10.7',
    'mmcv-lite': '2.1.0',
    'mmdet': '3.3.0',
    'mmpretrain': '1.2.0',
}
FORK = {
    **{k: v for k, v in UPSTREAM.items() if not k.startswith('mm')},
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmpretrain': '1.3.6',
}


@pytest.fixture
def find_problems(monkeypatch):
    """Find the problems of a stack of exactly these distributions."""

    def find(distributions, missing=()):
        monkeypatch.setattr(
            versions, '_distribution_version', distributions.get
        )
        monkeypatch.setattr(
            versions, 'is_importable', lambda name: name not in missing
        )
        return versions.find_problems()

    return find


@pytest.mark.parametrize('family', [UPSTREAM, FORK])
def test_both_families_have_no_problem(find_problems, family):
    assert find_problems(family) == []


def test_impossible_combination_is_fatal(find_problems):
    for change, text, command in (
        ({'torchvision': '0.20.1'}, 'torchvision 0.20.1', 'torchvision==0.29'),
        ({'torch': '2.4.1', 'torchvision': '0.19.1'}, 'torch 2.4.1', 'torch'),
        ({'mmcv': '2.1.0'}, 'mmcv and mmcv-lite are both', 'pip uninstall'),
        ({'onedl-mmengine': '0.10.12'}, 'keep one family', 'pip uninstall'),
    ):
        problems = find_problems({**UPSTREAM, **change})
        (problem,) = [problem for problem in problems if problem.fatal]
        assert text in problem.text
        assert command in problem.command


def test_untested_version_is_a_warning(find_problems):
    for family, name, version in (
        (UPSTREAM, 'mmdet', '3.4.0'),
        (FORK, 'onedl-mmcv', '2.3.5'),
    ):
        (problem,) = find_problems({**family, name: version})
        assert f'{version} is untested' in problem.text
        assert not problem.fatal


def test_missing_package_is_reported(find_problems):
    for missing, command, fatal in (
        ('torch', 'pip install torch==', True),
        ('mmdet', 'mmdet==3.3.0', True),
        ('mmpretrain', 'mmpretrain==1.2.0', False),
        ('pkg_resources', '"setuptools<81"', True),
    ):
        (problem,) = find_problems(UPSTREAM, missing={missing})
        assert command in problem.command
        assert problem.fatal is fatal


def test_fork_does_not_need_pkg_resources(find_problems):
    assert find_problems(FORK, missing={'pkg_resources'}) == []


def test_failing_import_names_the_problem_and_its_command(monkeypatch):
    problem = versions.Problem('setuptools 82 is too new', 'pip install x')
    monkeypatch.setattr(versions, 'find_problems', lambda: [problem])
    monkeypatch.setitem(sys.modules, 'mmengine.logging', None)
    with pytest.raises(ImportError, match='too new; run: pip install x'):
        setup_compat.__wrapped__()


def test_torch_that_loads_checkpoints_unsafely_is_refused(monkeypatch):
    name = 'get_unsafe_globals_in_checkpoint'
    monkeypatch.delattr(torch.serialization, name)
    monkeypatch.setattr(versions, 'find_problems', lambda: [])
    with pytest.raises(ImportError, match='loads unsafely'):
        setup_compat.__wrapped__()
