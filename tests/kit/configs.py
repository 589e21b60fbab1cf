"""The config files by name, and checks that run over many of them."""

import functools
from collections.abc import Callable, Iterable

from mmengine.config import Config

from kit.digits_runs import CONFIGS

FOLDERS = ('baselines', 'detnas')


def names_of(*folders: str) -> list[str]:
    """Names such as ``detnas/detnas-small_8xb128_in1k``."""
    return sorted(
        f'{file.parent.name}/{file.stem}'
        for folder in folders
        for file in (CONFIGS / folder).glob('*.py')
    )


NAMES = names_of(*FOLDERS)
DIGITS = names_of('digits')
DETECTORS = [name for name in NAMES if '_fpn_' in name]
SEARCHES = [name for name in NAMES if '-search-' in name]
COCO = [name for name in NAMES if name.endswith('_coco')]
VOC = [name for name in NAMES if name.endswith('_voc0712')]
RESNETS = [name for name in DETECTORS if '_r50_' in name or '_r101_' in name]
SCRATCH = [
    name
    for name in DETECTORS
    if 'scratch-supernet' in name or 'scratch-search' in name
]
# The metric of a data set that a search uses.
METRICS = {
    'coco': 'coco/bbox_mAP',
    'voc0712': 'pascal_voc/mAP',
    'in1k': 'accuracy/top1',
}


def is_supernet(name: str) -> bool:
    """Whether a config trains or searches a supernet."""
    return 'supernet' in name or 'search' in name


def for_each(names: Iterable) -> Callable[[Callable], Callable[[], None]]:
    """Makes one test of a check that takes a name.

    The test runs the check with every name and fails with the list of the
    names for which an assertion failed.
    """
    names = list(names)

    def decorate(check: Callable) -> Callable[[], None]:
        def test() -> None:
            assert names
            problems = {}
            for name in names:
                try:
                    check(name)
                except AssertionError as error:
                    problems[name] = str(error)
            report = (f'{name}: {text}' for name, text in problems.items())
            assert not problems, '\n'.join(report)

        return test

    return decorate


@functools.cache
def read_config(name: str) -> Config:
    """Reads a config once. Copy it to change it."""
    return Config.fromfile(CONFIGS / f'{name}.py')


def find_config(stem: str, *folders: str) -> str:
    """Returns the config that writes to ``work_dirs/<stem>``."""
    names = names_of(*(folders or FOLDERS))
    (name,) = (name for name in names if name.split('/')[1] == stem)
    return name
