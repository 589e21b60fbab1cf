"""Weights that a project starts from."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from detnas_mm.models import (
    DetNASSupernet,
    convert_checkpoint,
    load_state_dict,
    require_matching_keys,
    save_checkpoint,
    weights_below,
)
from detnas_mm.structures import space_name
from detnas_mm.utils.errors import InputError

NAME = 'weights.pth'
SPACES = ('small', 'elastic')
PREFIX = 'backbone.'


@dataclass(frozen=True)
class Weights:
    """The weights of a supernet in the folder of a project.

    Attributes:
        layout: Whose they are.
        space: Name of the search space.
        shuffle: Their channel shuffle.
    """

    layout: str
    space: str
    shuffle: str

    @property
    def is_rgb(self) -> bool:
        """Whether they expect normalized RGB images, not BGR from 0 to 255."""
        return self.layout == 'mmrazor'


def use_weights(file: Path, folder: Path) -> Weights:
    """Puts the weights of a supernet into the folder of a project.

    They are converted, if they are not from this project.

    Raises:
        InputError: If they are not those of a supernet of a known space.
    """
    if not file.is_file():
        raise InputError(f'no weights at {file}')
    state_dict = load_state_dict(file)
    if weights_below(f'{PREFIX}blocks.', state_dict):
        weights = _read_own(weights_below(PREFIX, state_dict), file)
        shutil.copy(file, folder / NAME)
        return weights
    converted = convert_checkpoint(file)
    if converted.path is not None:
        raise InputError(
            f'{file} has the weights of one path, {converted.path}; a search '
            'starts from those of a supernet'
        )
    space = space_name(converted.search_space)
    if space not in SPACES:
        raise InputError(
            f'{file} has the weights of the space {space}, expected '
            f'{" or ".join(SPACES)}'
        )
    save_checkpoint(converted.to_checkpoint(), folder / NAME)
    return Weights(converted.layout, space, converted.shuffle)


def _read_own(state_dict: Mapping[str, Tensor], file: Path) -> Weights:
    for space in SPACES:
        with torch.device('meta'):
            net = DetNASSupernet(space, out_indices=range(4))
        try:
            require_matching_keys(net, state_dict, str(file))
        except InputError:
            continue
        return Weights('detnas_mm', space, 'grouped')
    raise InputError(
        f'{file} does not fit a supernet of the spaces {" and ".join(SPACES)}'
    )
