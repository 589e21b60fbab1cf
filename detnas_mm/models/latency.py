"""Latency of a model and its parts, measured on this device by torch."""

import contextlib
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from detnas_mm.utils.errors import InputError


class DeviceTimer:
    """Times between marks, on a CPU or in a stream of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list = []

    def mark(self) -> None:
        """Set a mark; on a GPU it is queued behind all pending work."""
        if self.device.type == 'cuda':
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter_ns())

    def intervals(self) -> list[float]:
        """Return the ms from each mark to the next, and clear the marks."""
        marks, self._marks = self._marks, []
        pairs = list(zip(marks, marks[1:], strict=False))
        if self.device.type == 'cuda':
            torch.cuda.synchronize()
            return [first.elapsed_time(second) for first, second in pairs]
        return [(second - first) / 1e6 for first, second in pairs]


def device_name(device: torch.device) -> str:
    """Return the manufacturer's name of a device."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def usable_device(name: str) -> str:
    """Return the name of a device if torch can use it here."""
    try:
        device = torch.device(name)
        count = torch.get_device_module(device).device_count()
    except RuntimeError:
        raise InputError(
            f'--device must be such as cuda:0 or cpu, got {name!r}'
        ) from None
    if (device.index or 0) < count:
        return name
    kind = 'GPU' if device.type == 'cuda' else device.type
    found = f'{count} {kind}, counted from 0' if count else f'no {kind}'
    raise InputError(f'--device {name}: torch finds {found}; use --device cpu')


@torch.no_grad()
def measure_parts(
    run: Callable[[], object],
    parts: Mapping[str, nn.Module],
    device: torch.device,
    *,
    rounds: int,
    warm_up: int = 2,
) -> tuple[list[float], dict[str, float]]:
    """Measure a model, and parts of it that run one after the other.

    ``run()`` runs the model, and with it each part once, in the given order.
    The whole model and its parts are timed in alternating runs, so that the
    marks between the parts do not slow down the whole.

    Returns:
        The ms of each whole run, and the median ms of each part; the time
        outside the parts is ``'rest'``.
    """
    if rounds < 1:
        raise InputError(f'`rounds` must be at least 1, got {rounds}')
    timer = DeviceTimer(device)
    wholes, times = [], []
    # Warm-up rounds have negative indices and do not count.
    for index in range(-warm_up, rounds):
        timer.mark()
        run()
        timer.mark()
        whole = timer.intervals()
        with _marked(parts.values(), timer):
            timer.mark()
            run()
            timer.mark()
        intervals = timer.intervals()
        if index >= 0:
            wholes += whole
            # Even intervals lie before, between and after the parts.
            times.append([*intervals[1::2], sum(intervals[::2])])
    medians = np.median(np.array(times), axis=0).tolist()
    return wholes, dict(zip((*parts, 'rest'), medians, strict=True))


@contextlib.contextmanager
def _marked(
    modules: Iterable[nn.Module], timer: DeviceTimer
) -> Iterator[None]:
    """Mark the beginning and the end of each module's run."""

    def mark(*_: object) -> None:
        timer.mark()

    handles = []
    for module in modules:
        handles.append(module.register_forward_pre_hook(mark))
        handles.append(module.register_forward_hook(mark))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
