"""The definition of a search: the first line of its record."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from detnas_mm.utils.files import text_digest

# Version of the format. Since 3 candidates are in the order of finishing.
VERSION = 3
# The digests stand for config and checkpoint; where a file lies does not
# matter, and the search space names its custom blocks.
_ONLY_FOR_READERS = ('config', 'checkpoint', 'imports', 'planned', 'patience')
# What the score of a path depends on.
_SCORING = (
    'checkpoint_digest',
    'config_digest',
    'metric',
    'search_space',
    'shuffle',
)
# How many differences between two searches a message names.
_MAX_SHOWN = 3
_MAX_LENGTH = 70


@dataclass(frozen=True, kw_only=True)
class SearchHeader:
    """Definition of a search.

    Two searches with equal headers give equal records, apart from the times
    and the order of the lines.

    Attributes:
        config: The config as JSON, without what does not change a score.
        config_digest: SHA-256 of ``config``.
        checkpoint: Path of the supernet checkpoint; only for the reader.
        checkpoint_digest: SHA-256 of the checkpoint file.
        search_space: Fields of the search space.
        constraint: Bounds on the cost.
        algorithm: Type and settings of the search algorithm.
        metric: Key of the metric that is the fitness.
        objectives: Further objectives: costs to be low, metrics to be high.
        seed: Seed of the search.
        shuffle: Channel shuffle of the supernet.
        imports: Modules that register custom choice blocks; only for the
            reader.
        planned: How many candidates were to be evaluated when the search
            began, 0 if unknown; only for the reader.
        patience: Number of generations that bring nothing after which the
            search ends, 0 if it has no such end; only for the reader.
        version: Version of the format.
    """

    config: str
    config_digest: str
    checkpoint: str
    checkpoint_digest: str
    search_space: Mapping
    constraint: Mapping
    algorithm: Mapping
    metric: str
    seed: int
    objectives: Sequence[str] = field(default_factory=list)
    shuffle: str = 'grouped'
    imports: Sequence[str] = field(default_factory=list)
    planned: int = 0
    patience: int = 0
    version: int = VERSION

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> 'SearchHeader':
        """Build a header; fields of a newer version are ignored."""
        known = {field.name for field in fields(cls)}
        header = {key: values[key] for key in values if key in known}
        if 'objectives' not in header:
            # Earlier versions had them among the settings of the algorithm.
            algorithm = header.get('algorithm', {})
            header['objectives'] = [
                *algorithm.get('minimise', ()),
                *algorithm.get('maximise', ()),
            ]
        return cls(**header)

    @property
    def settings(self) -> Any:
        """The settings of the config, or its text if that is not JSON."""
        try:
            return json.loads(self.config)
        except ValueError:
            return self.config

    @property
    def digest(self) -> str:
        """Digest of what defines the search."""
        defining = {name: getattr(self, name) for name in self._defining()}
        return text_digest(json.dumps(defining, sort_keys=True))

    def difference(self, other: 'SearchHeader') -> str | None:
        """Name the first settings that differ from another search."""
        return self._difference(other, self._defining())

    def scoring_difference(self, other: 'SearchHeader') -> str | None:
        """Name the first settings that give a path another score."""
        return self._difference(other, _SCORING)

    def _difference(
        self, other: 'SearchHeader', names: Sequence[str]
    ) -> str | None:
        changes = [
            change for name in names for change in self._changes(other, name)
        ]
        if not changes:
            return None
        more = len(changes) - _MAX_SHOWN
        shown = '; '.join(changes[:_MAX_SHOWN])
        return shown + (f'; and {more} more' if more > 0 else '')

    def _defining(self) -> list[str]:
        names = [field.name for field in fields(self)]
        return [name for name in names if name not in _ONLY_FOR_READERS]

    def _changes(self, other: 'SearchHeader', name: str) -> list[str]:
        before, after = getattr(self, name), getattr(other, name)
        if name == 'algorithm':
            # Versions differ in the settings that an algorithm has.
            before, after = _without_none(before), _without_none(after)
        changes = list(diff(before, after, name))
        if changes and name == 'config_digest':
            return list(diff(self.settings, other.settings, 'config')) or (
                changes
            )
        return changes


def _without_none(settings: Mapping) -> dict:
    return {key: v for key, v in settings.items() if v is not None}


def diff(before: Any, after: Any, key: str) -> Iterator[str]:
    """Yield ``key: value there, value now`` for each value that differs.

    ``key`` is the place of both, such as ``'config.val_dataloader'``.
    """
    first, second = _children(before), _children(after)
    if first is None or second is None:
        if before != after:
            yield f'{key}: {_shorten(before)} there, {_shorten(after)} now'
        return
    for name in {**first, **second}:
        child = f'{key}.{name}'
        if name not in second:
            yield f'{child}: {_shorten(first[name])} there, nothing now'
        elif name not in first:
            yield f'{child}: nothing there, {_shorten(second[name])} now'
        else:
            yield from diff(first[name], second[name], child)


def _children(node: Any) -> dict | None:
    if isinstance(node, Mapping):
        return dict(node)
    # A list of numbers is a value, a list of dicts has parts.
    if isinstance(node, list | tuple) and any(
        isinstance(child, Mapping | list | tuple) for child in node
    ):
        return dict(enumerate(node))
    return None


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_LENGTH else f'{text[:_MAX_LENGTH]}...'
