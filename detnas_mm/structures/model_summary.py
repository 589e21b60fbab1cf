"""What a model of the scores knows, in a file beside the record."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detnas_mm.structures.search_space import SearchSpace
from detnas_mm.utils.errors import InputError

# The file in the work dir of a search.
MODEL = 'model.json'


@dataclass(frozen=True)
class ModelSummary:
    """What a model expects after the last generation of a search.

    Attributes:
        candidates: Number of scores that the model was fitted to.
        gain: How much the next generation raises the best score, on average;
            ``None`` with several objectives.
        effects: For each block and each choice that it has: the effect on
            the score, compared with the mean of these choices, and its
            standard deviation.
    """

    candidates: int
    gain: float | None
    effects: Sequence[Sequence[Sequence[float]]]

    @classmethod
    def read(cls, file: Path, space: SearchSpace) -> 'ModelSummary | None':
        """Read the file of a search in a space; ``None`` if it is missing."""
        if not file.exists():
            return None
        shapes = [(len(choices), 2) for choices in space.allowed_choices]
        try:
            summary = cls(**json.loads(file.read_bytes()))
            if [np.array(row, float).shape for row in summary.effects] != (
                shapes
            ):
                raise ValueError('its blocks have other choices')
        except (TypeError, ValueError) as error:
            raise InputError(
                f'{file} is not the model of this search ({error}); remove '
                'it, and the search with --resume writes it again'
            ) from error
        return summary
