"""Metrics as they were computed, not as they are printed."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_MISSING = object()


def _keep(value: float, ndigits: int | None = None) -> float:
    """Stands in for ``round``: only rounding to an integer takes place."""
    return round(value) if ndigits is None else value


@contextmanager
def unrounded(metrics: Iterable[object]) -> Iterator[None]:
    """Lets evaluation metrics return unrounded numbers.

    mmdet's metrics round to 3 decimals before they return (``CocoMetric``,
    ``VOCMetric``), so that different candidates tie. They call the built-in
    ``round``; inside the ``with`` block the modules that define them see one
    that keeps all decimals. The metrics themselves stay untouched.

    Args:
        metrics: Metrics of an evaluator.
    """
    modules = {
        sys.modules[cls.__module__]
        for metric in metrics
        for cls in type(metric).__mro__
        if cls.__module__ not in ('abc', 'builtins')
    }
    before = {m: vars(m).get('round', _MISSING) for m in modules}
    for module in modules:
        module.round = _keep
    try:
        yield
    finally:
        for module, value in before.items():
            if value is _MISSING:
                del module.round
            else:
                module.round = value
