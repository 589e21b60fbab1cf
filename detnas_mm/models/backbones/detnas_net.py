"""A searched backbone: one path of a search space as a network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from detnas_mm.models.backbones.base import DetNASBackbone
from detnas_mm.registry import MODELS
from detnas_mm.structures import (
    PUBLISHED_PATHS,
    ArchPath,
    SearchSpace,
    get_search_space,
)
from detnas_mm.utils.errors import InputError

_ALLOWED = f'a best.json, or one of {", ".join(PUBLISHED_PATHS)}'


@MODELS.register_module()
class DetNASNet(DetNASBackbone):
    """Backbone of one path, to be trained and used like any other.

    Args:
        path: Choice digits such as ``'2120 2112 33130031 3132'`` (with
            ``search_space``), a published name such as
            ``'detnas_fpn_300m'``, or the ``best.json`` of a search.
        search_space: Name of a search space, its fields, or the space; not
            needed for a published name or a ``best.json``.
        shuffle: Channel shuffle of stride-1 blocks, ``'grouped'`` or
            ``'interleaved'``. Defaults to the one of the ``best.json``, else
            ``'grouped'``. Weights fit only the one they were trained with.
        **settings: See :class:`DetNASBackbone`.
    """

    def __init__(
        self,
        path: str | Sequence[int],
        search_space: str | Mapping | SearchSpace | None = None,
        shuffle: str | None = None,
        **settings: object,
    ) -> None:
        architecture = resolve_architecture(path, search_space)
        super().__init__(
            architecture.search_space,
            shuffle or architecture.shuffle,
            **settings,
        )
        self.path = architecture.path
        self.blocks = nn.ModuleList(
            self.build_block(index, choice)
            for index, choice in enumerate(self.path)
        )
        self._freeze_stages()

    def active_blocks(self) -> list[nn.Module]:
        """Return the blocks of the path."""
        return list(self.blocks)


@dataclass(frozen=True)
class Architecture:
    """A path with its search space and channel shuffle."""

    search_space: SearchSpace
    path: ArchPath
    shuffle: str = 'grouped'


def resolve_architecture(
    path: str | int | Sequence[int] | Path,
    search_space: str | Mapping | SearchSpace | None = None,
) -> Architecture:
    """Find the network that a path names.

    Args:
        path: Choice digits (with ``search_space``), a published name, or the
            ``best.json`` of a search.
        search_space: The search space. A published name or a ``best.json``
            has its own; if given as well, it must be the same.
    """
    space = None if search_space is None else get_search_space(search_space)
    if isinstance(path, Path):
        path = str(path)
    if isinstance(path, int) and space is not None:
        # --cfg-options reads digits as a number, without leading zeros.
        path = str(path).zfill(space.num_blocks)
    if not isinstance(path, (str, Sequence)):
        raise InputError(
            '`path` must be the digits of a path as text, such as '
            f"'2120...' in quotes, got {path!r}"
        )
    if isinstance(path, str) and path in PUBLISHED_PATHS:
        name, digits = PUBLISHED_PATHS[path]
        own_space = get_search_space(name)
        architecture = Architecture(own_space, own_space.parse(digits))
    elif isinstance(path, str) and path.endswith('.json'):
        architecture = _read_result(path)
    else:
        return _parse_digits(path, space)
    if space not in (None, architecture.search_space):
        raise InputError(
            f'{path} is a path of {architecture.search_space}, but '
            f'`search_space` is {space}; give a path of that space, or leave '
            '`search_space` out'
        )
    return architecture


def _parse_digits(
    path: str | Sequence[int], space: SearchSpace | None
) -> Architecture:
    if space is None:
        raise InputError(
            '`path` must be the digits of a path together with '
            f'`search_space`, {_ALLOWED}; got {path!r} and no search space'
        )
    if not isinstance(path, str):
        return Architecture(space, space.validate(path))
    if not path.replace(' ', '').isalnum():
        raise InputError(f'`path` must be digits, {_ALLOWED}; got {path!r}')
    return Architecture(space, space.parse(path))


def _read_result(file: str) -> Architecture:
    if not Path(file).is_file():
        raise InputError(
            f'no search result at {file}; run tools/search.py first, or give '
            'the digits of a path'
        )
    try:
        result = json.loads(Path(file).read_text())
        space = get_search_space(result['search_space'])
        digits, shuffle = result['path'], result['shuffle']
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{file} is not the best.json of a search: {error!r}'
        ) from error
    return Architecture(space, space.parse(digits), shuffle)
