"""Weights that a project starts from."""

from pathlib import Path

from detnas_mm.models import convert_checkpoint, save_checkpoint
from detnas_mm.utils.errors import InputError

NAME = 'weights.pth'


def use_weights(file: Path | None, folder: Path) -> tuple[str | None, bool]:
    """Puts the weights of a supernet into the folder of a project.

    Returns:
        The name of the file, None without weights, and whether they expect
        normalized RGB images.
    """
    if file is None:
        return None, True
    converted = convert_checkpoint(file)
    if converted.path is not None:
        raise InputError(
            f'{file} has the weights of one path, {converted.path}; a search '
            'starts from those of a supernet'
        )
    save_checkpoint(converted.to_checkpoint(), folder / NAME)
    return NAME, converted.layout == 'mmrazor'
