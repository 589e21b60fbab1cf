"""Accepted versions of the stack, and the reports about all others."""

import pytest

from detnas_mm.compat import versions

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


@pytest.mark.parametrize(
    ('change', 'text', 'command'),
    [
        ({'torchvision': '0.20.1'}, 'torchvision 0.20.1', '"torchvision==0.2'),
        ({'torch': '2.4.1', 'torchvision': '0.19.1'}, 'torch 2.4.1', 'torch'),
        ({'mmcv': '2.1.0'}, 'mmcv and mmcv-lite are both', 'pip uninstall'),
        ({'onedl-mmengine': '0.10.12'}, 'keep one family', 'pip uninstall'),
    ],
)
def test_impossible_combination_is_fatal(find_problems, change, text, command):
    problems = [p for p in find_problems({**UPSTREAM, **change}) if p.fatal]
    assert len(problems) == 1
    assert text in problems[0].text
    assert command in problems[0].command
    assert '\n' not in str(problems[0])


@pytest.mark.parametrize(
    ('family', 'name', 'version'),
    [(UPSTREAM, 'mmdet', '3.4.0'), (FORK, 'onedl-mmcv', '2.3.5')],
)
def test_untested_version_is_a_warning(find_problems, family, name, version):
    (problem,) = find_problems({**family, name: version})
    assert f'{version} is untested' in problem.text
    assert not problem.fatal


@pytest.mark.parametrize(
    ('missing', 'command', 'fatal'),
    [
        ('torch', 'pip install torch==', True),
        ('mmdet', 'mmdet==3.3.0', True),
        ('mmpretrain', 'mmpretrain==1.2.0', False),
        ('pkg_resources', '"setuptools<81"', True),
    ],
)
def test_missing_package_is_reported(find_problems, missing, command, fatal):
    (problem,) = find_problems(UPSTREAM, missing={missing})
    assert command in problem.command
    assert problem.fatal is fatal


def test_fork_does_not_need_pkg_resources(find_problems):
    assert find_problems(FORK, missing={'pkg_resources'}) == []
