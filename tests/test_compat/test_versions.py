"""Which installed versions are accepted, and what is said of the others."""

import pytest

from detnas_mm.compat import versions

UPSTREAM = {
    'torch': '2.14.1+cu130',
    'torchvision': '0.29.1',
    'numpy': '2.4.6',
    'opencv-python': '5.0.0.93',
    'pycocotools': '2.0.11',
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
def installed(monkeypatch):
    """Pretend that exactly these distributions are installed."""

    def pretend(versions, missing=()):
        monkeypatch.setattr(stack, '_distribution_version', versions.get)
        monkeypatch.setattr(
            stack, 'is_importable', lambda name: name not in missing
        )
        return versions.find_problems()

    return pretend


@pytest.mark.parametrize('family', [UPSTREAM, FORK])
def test_both_families_are_without_problem(installed, family):
    assert installed(family) == []


@pytest.mark.parametrize(
    ('change', 'text', 'command'),
    [
        ({'torchvision': '0.20.1'}, 'torchvision 0.20.1', '"torchvision==0.2'),
        ({'torch': '2.4.1', 'torchvision': '0.19.1'}, 'torch 2.4.1', 'torch'),
        ({'mmcv-lite': '2.2.0'}, 'mmcv 2.2.0', 'mmcv-lite==2.1.0'),
        ({'mmcv': '2.1.0'}, 'mmcv and mmcv-lite are both', 'pip uninstall'),
        ({'onedl-mmengine': '0.10.12'}, 'keep one family', 'pip uninstall'),
        ({'opencv-python': '4.8.1.78'}, 'numpy 2.4.6', 'opencv-python>=4.10'),
        ({'pycocotools': '2.0.7'}, 'pycocotools 2.0.7', 'pycocotools>=2.0.8'),
    ],
)
def test_impossible_combination_is_fatal_and_says_how_to_mend_it(
    installed, change, text, command
):
    problems = [p for p in installed({**UPSTREAM, **change}) if p.fatal]
    assert len(problems) == 1
    assert text in problems[0].text
    assert command in problems[0].command
    assert '\n' not in str(problems[0])


@pytest.mark.parametrize(
    ('missing', 'command', 'fatal'),
    [
        ('torch', 'pip install torch==', True),
        ('mmdet', 'mmdet==3.3.0', True),
        ('mmpretrain', 'mmpretrain==1.2.0', False),
        ('pkg_resources', '"setuptools<81"', True),
    ],
)
def test_missing_package_is_reported(installed, missing, command, fatal):
    (problem,) = installed(UPSTREAM, missing={missing})
    assert command in problem.command
    assert problem.fatal is fatal


def test_fork_does_not_need_pkg_resources(installed):
    assert installed(FORK, missing={'pkg_resources'}) == []
