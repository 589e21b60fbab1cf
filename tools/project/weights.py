"""Weights that a project starts from."""

from dataclasses import dataclass
from pathlib import Path

from detnas_mm.models import convert_checkpoint, save_checkpoint
from detnas_mm.structures import get_search_space
from detnas_mm.utils.errors import InputError

NAME = 'weights.pth'
SPACE = 'small'


@dataclass(frozen=True)
class Weights:
    """The weights of a supernet in the folder of a project.

    Attributes:
        layout: Whose they are.
        shuffle: Their channel shuffle.
    """

    layout: str
    shuffle: str

    @property
    def is_rgb(self) -> bool:
        """Whether they expect normalized RGB images, not BGR from 0 to 255."""
        return self.layout == 'mmrazor'


def use_weights(file: Path, folder: Path) -> Weights:
    """Converts the weights of a supernet into the folder of a project.

    Raises:
        InputError: If they are not those of a supernet of the small space.
    """
    if not file.is_file():
        raise InputError(f'no weights at {file}')
    converted = convert_checkpoint(file)
    if converted.path is not None:
        raise InputError(
            f'{file} has the weights of one path, {converted.path}; a search '
            'starts from those of a supernet'
        )
    if converted.search_space != get_search_space(SPACE):
        raise InputError(
            f'{file} has the weights of {converted.search_space}, expected '
            f'the space {SPACE}'
        )
    save_checkpoint(converted.to_checkpoint(), folder / NAME)
    return Weights(converted.layout, converted.shuffle)
