"""Extraction of one path's weights from the weights of a supernet."""

import re
from collections.abc import Mapping

from torch import Tensor

from detnas_mm.structures import ArchPath
from detnas_mm.utils.errors import InputError


def extract_path(
    state_dict: Mapping[str, Tensor], path: ArchPath, prefix: str = 'backbone.'
) -> dict[str, Tensor]:
    """Extract the weights of one path from a supernet's state dict.

    Args:
        state_dict: Weights of a supernet, or of a model around one.
        path: One choice for each block.
        prefix: Prefix of the supernet's keys; ``''`` for the state dict of
            the supernet itself.

    Returns:
        Weights of the same model with ``DetNASNet`` of that path: without
        the keys of other choices.

    Raises:
        InputError: If there is no supernet of such paths under ``prefix``.
    """
    # {prefix}blocks.{block}.{choice}.{rest}
    choice_key = re.compile(
        re.escape(f'{prefix}blocks') + r'\.(\d+)\.(\d+)\.(.+)'
    )
    extracted = {}
    taken = set()
    for key, value in state_dict.items():
        match = choice_key.fullmatch(key)
        if match is None:
            extracted[key] = value
            continue
        block, choice = int(match[1]), int(match[2])
        if block >= len(path):
            raise InputError(
                f'the supernet has a block {block}, but the path only '
                f'{len(path)} digits: it belongs to another search space'
            )
        if path[block] == choice:
            taken.add(block)
            extracted[f'{prefix}blocks.{block}.{match[3]}'] = value
    missing = sorted(set(range(len(path))) - taken)
    if missing:
        raise InputError(
            f'no weights of the supernet under {prefix!r} for block(s) '
            f'{missing[:5]} of the path; expected keys like '
            f'{prefix}blocks.0.{path[0]}.main.0.weight'
        )
    return extracted
