"""The supported versions of the stack, and the versions that are installed.

This module uses the standard library only and imports no package to find its
version, so it also works where the stack is missing or broken.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, util

TORCH_PINS = 'torch==2.14.1 torchvision==0.29.1'

# By family and import name: the distributions that may provide the module, the
# first supported version and the first one that is not.
DISTRIBUTIONS = {
    'openmmlab': {
        'mmengine': (('mmengine', 'mmengine-lite'), '0.10.7', '0.11'),
        'mmcv': (('mmcv-lite', 'mmcv'), '2.1', '2.2'),
        'mmdet': (('mmdet',), '3.3', '3.4'),
        'mmpretrain': (('mmpretrain',), '1.2', '1.3'),
    },
    'onedl': {
        'mmengine': (('onedl-mmengine',), '0.10.12', '0.11'),
        'mmcv': (('onedl-mmcv',), '2.3.6', '2.4'),
        'mmdet': (('onedl-mmdetection',), '3.5.1', '3.6'),
        'mmpretrain': (('onedl-mmpretrain',), '1.3.6', '1.4'),
    },
}
OTHER_DISTRIBUTIONS = {
    'cv2': ('opencv-python', 'opencv-python-headless'),
    'pkg_resources': ('setuptools',),
}
# Needed for ImageNet training only.
OPTIONAL = ('mmpretrain',)
TORCH_SUPPORTED = ('2.14', '2.15')
# From this version on, torch.load reads checkpoints safely by default.
TORCH_MINIMUM = '2.6'
INSTALL_TORCH = f'pip install {TORCH_PINS}'
INSTALL = {
    'openmmlab': (
        'pip install mmengine==0.10.7 mmcv-lite==2.1.0 mmdet==3.3.0 '
        'mmpretrain==1.2.0 "setuptools<81"'
    ),
    'onedl': (
        'pip install onedl-mmengine onedl-mmcv onedl-mmdetection '
        'onedl-mmpretrain'
    ),
}
# Both install mmcv without its compiled operators. pip builds the fork that
# way as long as it isolates the build.
REINSTALL_MMCV = {
    'openmmlab': (
        'pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0'
    ),
    'onedl': 'pip install --force-reinstall --no-deps onedl-mmcv',
}


@dataclass(frozen=True)
class Problem:
    """A fault of the installed stack, and the command that fixes it."""

    text: str  # one line
    command: str
    fatal: bool = True  # the package cannot work until it is fixed

    def __str__(self) -> str:
        return f'{self.text}; run: {self.command}'


def parse_version(text: str) -> tuple[int, ...]:
    """Return the release numbers: ``'2.14.1+cu130'`` -> (2, 14, 1)."""
    match = re.match(r'\d+(\.\d+)*', text)
    return tuple(map(int, match[0].split('.'))) if match else ()


def families() -> list[str]:
    """Return the families whose MMEngine is installed: none, one or both."""
    return [
        family
        for family, modules in DISTRIBUTIONS.items()
        if any(map(_distribution_version, modules['mmengine'][0]))
    ]


def installed_version(name: str) -> str | None:
    """Return the version of an import name, or None if pip knows none."""
    candidates = [
        *OTHER_DISTRIBUTIONS.get(name, (name,)),
        *(d for f in DISTRIBUTIONS.values() for d in f.get(name, [()])[0]),
    ]
    return next(filter(None, map(_distribution_version, candidates)), None)


def is_importable(name: str) -> bool:
    """Return True if a top-level module has this name; runs no code of it."""
    try:
        return name in sys.modules or util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def find_problems() -> list[Problem]:
    """Return all problems of the installed versions, fatal ones first."""
    problems = [*_torch_problems(), *_family_problems()]
    return sorted(problems, key=lambda problem: not problem.fatal)


def _distribution_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch_problems() -> Iterator[Problem]:
    missing = [n for n in ('torch', 'torchvision') if not is_importable(n)]
    if missing:
        yield Problem(f'not installed: {", ".join(missing)}', INSTALL_TORCH)
        return
    torch, vision = map(installed_version, ('torch', 'torchvision'))
    if torch is None or vision is None:
        return
    release = parse_version(torch)
    # torchvision 0.15 + k is built for torch 2.k.
    pair = (0, release[1] + 15) if release[0] == 2 else None
    if release < parse_version(TORCH_MINIMUM):
        yield Problem(
            f'torch {torch} loads checkpoints unsafely; '
            f'torch>={TORCH_MINIMUM} is needed',
            INSTALL_TORCH,
        )
    elif pair and parse_version(vision)[:2] != pair:
        yield Problem(
            f'torchvision {vision} was not built for torch {torch}, which '
            f'needs torchvision 0.{pair[1]}',
            f'pip install "torchvision==0.{pair[1]}.*"',
        )
    else:
        yield from _untested('torch', TORCH_SUPPORTED, INSTALL_TORCH)


def _family_problems() -> list[Problem]:
    found = families()
    if len(found) > 1:
        modules = [m for f in DISTRIBUTIONS.values() for m in f.values()]
        names = [name for candidates, *_ in modules for name in candidates]
        present = ' '.join(filter(_distribution_version, names))
        return [
            Problem(
                'mmengine and onedl-mmengine are both installed and overwrite '
                "each other's files; keep one family",
                f'pip uninstall -y {present} && {INSTALL["openmmlab"]}',
            )
        ]
    family = found[0] if found else 'openmmlab'
    missing = [n for n in DISTRIBUTIONS[family] if not is_importable(n)]
    problems = []
    if missing:
        fatal = not set(missing) <= set(OPTIONAL)
        text = f'not installed: {", ".join(missing)}'
        problems.append(Problem(text, INSTALL[family], fatal))
    if found == ['openmmlab']:
        problems += _openmmlab_problems()
    if not any(problem.fatal for problem in problems):
        for name, (_, *supported) in DISTRIBUTIONS[family].items():
            problems += _untested(name, supported, INSTALL[family])
    return problems


def _openmmlab_problems() -> Iterator[Problem]:
    if not is_importable('pkg_resources'):
        yield Problem(
            f'setuptools {installed_version("pkg_resources")} has no '
            'pkg_resources, which mmengine imports',
            'pip install "setuptools<81"',
        )
    if all(map(_distribution_version, ('mmcv', 'mmcv-lite'))):
        yield Problem(
            'mmcv and mmcv-lite are both installed and overwrite each '
            "other's files; keep one",
            REINSTALL_MMCV['openmmlab'],
        )


def _untested(
    name: str, supported: Sequence[str], command: str
) -> Iterator[Problem]:
    """Yield a warning if a version is installed that was not tested."""
    version = installed_version(name)
    first, end = supported
    if version and not (
        parse_version(first) <= parse_version(version) < parse_version(end)
    ):
        text = f'{name} {version} is untested; tested: >={first},<{end}'
        yield Problem(text, command, fatal=False)
