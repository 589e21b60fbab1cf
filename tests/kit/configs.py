"""The configs by name, read once."""

import functools

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


def is_supernet(name: str) -> bool:
    """Whether a config trains or searches a supernet."""
    return 'supernet' in name or 'search' in name


@functools.cache
def read_config(name: str) -> Config:
    """A config as it is, read once: copy it to change it."""
    return Config.fromfile(CONFIGS / f'{name}.py')


def find_config(stem: str, *folders: str) -> str:
    """The config that leaves ``work_dirs/<stem>``."""
    names = names_of(*(folders or FOLDERS))
    (name,) = (name for name in names if name.split('/')[1] == stem)
    return name
