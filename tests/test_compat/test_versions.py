"""Accepted versions of the stack, and the reports about all others."""

import pytest

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
        ({'mmcv-lite': '2.2.0'}, 'mmcv 2.2.0', 'mmcv-lite==2.1.0'),
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


def test_untested_versions_warn_once_and_fatal_problems_raise(monkeypatch):
    problems = [
        versions.Problem('torch 2.99 is untested', 'pip', fatal=False),
        versions.Problem('mmdet 3.9 is untested', 'pip', fatal=False),
    ]
    monkeypatch.setattr(versions, 'find_problems', lambda: problems)
    with pytest.warns(UserWarning, match='torch 2.99.*mmdet 3.9') as caught:
        setup_compat.__wrapped__()
    assert len(caught) == 1
    problems.insert(0, versions.Problem('mmcv 2.2 is refused', 'pip install'))
    with pytest.raises(ImportError, match='2.2 is refused; run: pip install'):
        setup_compat.__wrapped__()
