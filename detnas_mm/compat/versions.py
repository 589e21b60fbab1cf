"""Which versions of the stack are supported, and what is installed.

Standard library only, and nothing is imported to find its version, so that
it can speak about a stack that is missing or broken.
"""

import re
import sys
from dataclasses import dataclass
from importlib import metadata, util

Version = tuple[int, ...]

TORCH_PINS = 'torch==2.14.1 torchvision==0.29.1'

# Import name -> the distributions that may provide it, by family.
DISTRIBUTIONS = {
    'openmmlab': {
        'mmengine': ('mmengine', 'mmengine-lite'),
        'mmcv': ('mmcv-lite', 'mmcv'),
        'mmdet': ('mmdet',),
        'mmpretrain': ('mmpretrain',),
    },
    'onedl': {
        'mmengine': ('onedl-mmengine',),
        'mmcv': ('onedl-mmcv',),
        'mmdet': ('onedl-mmdetection',),
        'mmpretrain': ('onedl-mmpretrain',),
    },
}
OTHER_DISTRIBUTIONS = {
    'cv2': ('opencv-python', 'opencv-python-headless'),
    'pkg_resources': ('setuptools',),
}
# Needed for ImageNet training only.
OPTIONAL = ('mmpretrain',)
# The first version that is supported and the first that is not.
SUPPORTED = {
    'openmmlab': {
        'mmengine': ('0.10.7', '0.11'),
        'mmcv': ('2.1', '2.2'),
        'mmdet': ('3.3', '3.4'),
        'mmpretrain': ('1.2', '1.3'),
    },
    'onedl': {
        'mmengine': ('0.10.12', '0.11'),
        'mmcv': ('2.3.6', '2.4'),
        'mmdet': ('3.5.1', '3.6'),
        'mmpretrain': ('1.3.6', '1.4'),
    },
}
TORCH_SUPPORTED = ('2.14', '2.15')
# torch.load reads checkpoints safely by default from here on.
TORCH_MINIMUM = '2.6'
# Wheels built before these were built for numpy 1 and crash under numpy 2.
NUMPY_2_MINIMUM = {'cv2': '4.10', 'pycocotools': '2.0.8'}
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
# Without its operators; the fork is built so where pip isolates the build.
REINSTALL_MMCV = {
    'openmmlab': (
        'pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0'
    ),
    'onedl': 'pip install --force-reinstall --no-deps onedl-mmcv',
}


@dataclass(frozen=True)
class Problem:
    """Something about the installed stack that has to be mended.

    Attributes:
        text: What is wrong, in one line.
        command: What mends it.
        fatal: Whether the package cannot work until then.
    """

    text: str
    command: str
    fatal: bool = True

    def __str__(self) -> str:
        return f'{self.text}; run: {self.command}'


def parse_version(text: str) -> Version:
    """The release numbers of a version: ``'2.14.1+cu130'`` -> (2, 14, 1)."""
    match = re.match(r'\d+(\.\d+)*', text)
    return tuple(map(int, match[0].split('.'))) if match else ()


def families() -> list[str]:
    """The families of which an MMEngine is installed: none, one or both."""
    return [
        family
        for family, names in DISTRIBUTIONS.items()
        if any(map(_distribution_version, names['mmengine']))
    ]


def installed_version(name: str) -> str | None:
    """The version of an import name, or None where pip knows none."""
    candidates = [
        *OTHER_DISTRIBUTIONS.get(name, (name,)),
        *(d for f in DISTRIBUTIONS.values() for d in f.get(name, ())),
    ]
    return next(filter(None, map(_distribution_version, candidates)), None)


def is_importable(name: str) -> bool:
    """Whether there is a top-level module of this name; nothing is run."""
    try:
        return name in sys.modules or util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def find_problems() -> list[Problem]:
    """Every problem that the installed versions show, fatal ones first."""
    problems = [
        *_torch_problems(),
        *_family_problems(),
        *_numpy_problems(),
    ]
    return sorted(problems, key=lambda problem: not problem.fatal)


def _distribution_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _torch_problems() -> list[Problem]:
    mend = f'pip install {TORCH_PINS}'
    missing = [n for n in ('torch', 'torchvision') if not is_importable(n)]
    if missing:
        return [Problem(f'not installed: {", ".join(missing)}', mend)]
    torch, vision = map(installed_version, ('torch', 'torchvision'))
    if torch is None or vision is None:
        return []
    torch_release = parse_version(torch)
    if torch_release < parse_version(TORCH_MINIMUM):
        return [
            Problem(
                f'torch {torch} loads checkpoints unsafely; torch>='
                f'{TORCH_MINIMUM} is needed',
                mend,
            )
        ]
    # torchvision 0.15 + k is built for torch 2.k.
    pair = (0, torch_release[1] + 15)
    if torch_release[0] == 2 and parse_version(vision)[:2] != pair:
        return [
            Problem(
                f'torchvision {vision} was not built for torch {torch}, '
                f'which needs torchvision 0.{pair[1]}',
                f'pip install "torchvision==0.{pair[1]}.*"',
            )
        ]
    return _untested('torch', torch, TORCH_SUPPORTED, mend)


def _family_problems() -> list[Problem]:
    found = families()
    if len(found) > 1:
        names = [
            name
            for family in DISTRIBUTIONS.values()
            for candidates in family.values()
            for name in candidates
        ]
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
        problems.append(
            Problem(
                f'not installed: {", ".join(missing)}',
                INSTALL[family],
                fatal=not set(missing) <= set(OPTIONAL),
            )
        )
    if family in found and family == 'openmmlab':
        problems += _openmmlab_problems()
    if any(problem.fatal for problem in problems):
        return problems
    for name, supported in SUPPORTED[family].items():
        version = installed_version(name)
        problems += _untested(name, version, supported, INSTALL[family])
    return problems


def _openmmlab_problems() -> list[Problem]:
    problems = []
    if not is_importable('pkg_resources'):
        problems.append(
            Problem(
                f'setuptools {installed_version("pkg_resources")} has no '
                'pkg_resources, which mmengine imports',
                'pip install "setuptools<81"',
            )
        )
    if all(map(_distribution_version, ('mmcv', 'mmcv-lite'))):
        problems.append(
            Problem(
                'mmcv and mmcv-lite are both installed and overwrite each '
                "other's files; keep one",
                REINSTALL_MMCV['openmmlab'],
            )
        )
    mmcv, mmdet = installed_version('mmcv'), installed_version('mmdet')
    if (
        mmcv
        and mmdet
        and parse_version(mmdet) <= (3, 3, 0)
        and parse_version(mmcv) >= (2, 2)
    ):
        problems.append(
            Problem(
                f'mmdet {mmdet} refuses mmcv {mmcv}: it needs mmcv<2.2.0',
                REINSTALL_MMCV['openmmlab'],
            )
        )
    return problems


def _numpy_problems() -> list[Problem]:
    numpy = installed_version('numpy')
    if numpy is None or parse_version(numpy) < (2,):
        return []
    problems = []
    for name, minimum in NUMPY_2_MINIMUM.items():
        version = installed_version(name)
        if version and parse_version(version) < parse_version(minimum):
            package = OTHER_DISTRIBUTIONS.get(name, (name,))[0]
            problems.append(
                Problem(
                    f'{package} {version} was built for numpy 1 and fails '
                    f'with numpy {numpy}',
                    f'pip install "{package}>={minimum}"',
                )
            )
    return problems


def _untested(
    name: str, version: str | None, supported: tuple[str, str], mend: str
) -> list[Problem]:
    first, end = supported
    if version is None or (
        parse_version(first) <= parse_version(version) < parse_version(end)
    ):
        return []
    text = f'{name} {version} is untested; tested: >={first},<{end}'
    return [Problem(text, mend, fatal=False)]
