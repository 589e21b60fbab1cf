"""mmdet's metrics without rounding, and ``CocoMetric`` without detours."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

_COCO_METRIC = 'mmdet.evaluation.metrics.coco_metric'
_MISSING = object()


@contextmanager
def exact_metrics(metrics: Iterable[object]) -> Iterator[None]:
    """Makes metrics return unrounded numbers, and COCO's faster.

    mmdet's metrics round to 3 decimals before they return (``CocoMetric``,
    ``VOCMetric``), so that different candidates tie. They call the built-in
    ``round``; inside the ``with`` block the modules that define them see one
    that keeps all decimals.

    ``CocoMetric`` writes predictions to a temporary file and reads them from
    there; inside the block they stay in memory. Its ``COCOeval`` is the one
    of faster-coco-eval, where that is installed.

    Args:
        metrics: Metrics of an evaluator.
    """
    with ExitStack() as patches:
        for module in _defining_modules(metrics):
            patches.enter_context(patched(module, round=_keep_decimals))
        coco = sys.modules.get(_COCO_METRIC)
        if coco is not None:
            if not any(getattr(m, 'outfile_prefix', None) for m in metrics):
                patches.enter_context(patched(coco, **_memory_files(coco)))
            patches.enter_context(patched(coco, **_faster_evaluation()))
        yield


@contextmanager
def patched(module: ModuleType, **values: Any) -> Iterator[None]:
    """Sets names of a module inside a ``with`` block."""
    before = {name: vars(module).get(name, _MISSING) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is _MISSING:
                delattr(module, name)
            else:
                setattr(module, name, value)


def _defining_modules(metrics: Iterable[object]) -> set[ModuleType]:
    return {
        sys.modules[cls.__module__]
        for metric in metrics
        for cls in type(metric).__mro__
        if cls.__module__ not in ('abc', 'builtins')
    }


def _keep_decimals(value: float, ndigits: int | None = None) -> float:
    """Replaces ``round``: rounds only to an integer."""
    return round(value) if ndigits is None else value


def _memory_files(module: ModuleType) -> dict[str, Any]:
    """Returns ``dump`` and ``load`` that keep lists of predictions."""
    dump, load = module.dump, module.load
    kept: dict[str, list[dict]] = {}

    def dump_or_keep(content: Any, file: str) -> None:
        if isinstance(content, list):
            kept[file] = content
        else:
            # Ground truth, which pycocotools reads from the disk.
            dump(content, file)

    def load_or_copy(file: str) -> Any:
        if file in kept:
            # COCOeval writes into what it is given.
            return [dict(prediction) for prediction in kept[file]]
        return load(file)

    return dict(dump=dump_or_keep, load=load_or_copy)


def _faster_evaluation() -> dict[str, Any]:
    """Returns ``COCOeval`` in C++, where that is installed."""
    try:
        from faster_coco_eval.core import faster_eval_api
    except ImportError:
        return {}
    from pycocotools.cocoeval import COCOeval

    class FasterCOCOeval(faster_eval_api.COCOeval):
        # The summary of faster-coco-eval takes other numbers of boxes.
        summarize = COCOeval.summarize

    return dict(COCOeval=FasterCOCOeval)
