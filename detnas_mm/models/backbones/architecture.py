"""Which network a ``path`` setting means."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detnas_mm.structures import (
    PUBLISHED_PATHS,
    ArchPath,
    SearchSpace,
    get_search_space,
)
from detnas_mm.utils.errors import InputError

_ALLOWED = f'a best.json, or one of {", ".join(PUBLISHED_PATHS)}'


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

    Raises:
        InputError: If the path is none of these or belongs to another space,
            or the ``best.json`` does not exist.
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
    architecture = _read_named(path) if isinstance(path, str) else None
    if architecture is None:
        return _parse_digits(path, space)
    if space not in (None, architecture.search_space):
        raise InputError(
            f'{path} is a path of {architecture.search_space}, but '
            f'`search_space` is {space}; give a path of that space, or leave '
            '`search_space` out'
        )
    return architecture


def _read_named(path: str) -> Architecture | None:
    """Return the network of a published name or a ``best.json``."""
    if path in PUBLISHED_PATHS:
        name, digits = PUBLISHED_PATHS[path]
        space = get_search_space(name)
        return Architecture(space, space.parse(digits))
    if path.endswith('.json'):
        return _read_result(path)
    return None


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
