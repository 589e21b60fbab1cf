"""What differs between two trees of plain data, such as configs."""

from collections.abc import Iterator, Mapping

_LONGEST = 70


class _Nothing:
    """Stands where only one tree has something."""

    def __repr__(self) -> str:
        return 'nothing'


_NOTHING = _Nothing()


def differences(before: object, after: object, key: str = '') -> Iterator[str]:
    """Yields ``key: value there, value now`` for each value that differs.

    Args:
        before: A tree of dicts and lists.
        after: Another one.
        key: Where they are, such as ``'config.val_dataloader'``.
    """
    branches = [_branches(before), _branches(after)]
    if None in branches:
        if before != after:
            yield f'{key}: {_shown(before)} there, {_shown(after)} now'
        return
    first, second = branches
    for name in {**first, **second}:
        yield from differences(
            first.get(name, _NOTHING),
            second.get(name, _NOTHING),
            f'{key}.{name}' if key else str(name),
        )


def _branches(node: object) -> dict | None:
    if isinstance(node, Mapping):
        return dict(node)
    # A list of numbers is a value, one of dicts has parts.
    if isinstance(node, list | tuple) and any(
        isinstance(one, Mapping | list | tuple) for one in node
    ):
        return dict(enumerate(node))
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 3]}...'
