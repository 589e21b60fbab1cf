"""Latency of the blocks of a supernet, measured where they run."""

import contextlib
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.structures import ArchPath
from detnas_mm.utils.errors import InputError


class Stopwatch:
    """Times that pass between marks, on a CPU or in a stream of a GPU.

    Args:
        device: The device on which the marked work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list = []

    def mark(self) -> None:
        """Sets a mark: on a GPU behind all work that is queued."""
        if self.device.type == 'cuda':
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter_ns())

    def intervals(self) -> list[float]:
        """Returns the ms from each mark to the next, and forgets them."""
        marks, self._marks = self._marks, []
        pairs = list(zip(marks, marks[1:], strict=False))
        if self.device.type == 'cuda':
            torch.cuda.synchronize()
            return [first.elapsed_time(second) for first, second in pairs]
        return [(second - first) / 1e6 for first, second in pairs]


def device_name(device: torch.device) -> str:
    """Returns the name of a device, as its maker calls it."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def usable_device(name: str) -> str:
    """Returns the name of a device, if torch can use it here.

    It is the type of an option of the command line.

    Args:
        name: Such as ``'cuda:0'`` or ``'cpu'``.

    Raises:
        RuntimeError: If torch does not know it, or does not find it; of a
            ``ValueError`` argparse would leave out the reason.
    """
    try:
        device = torch.device(name)
        count = torch.get_device_module(device).device_count()
    except RuntimeError:
        raise RuntimeError(
            f'--device must be such as cuda:0 or cpu, got {name!r}'
        ) from None
    if (device.index or 0) < count:
        return name
    kind = 'GPU' if device.type == 'cuda' else device.type
    found = f'{count} {kind}, counted from 0' if count else f'no {kind}'
    raise RuntimeError(
        f'--device {name}: torch finds {found}; use --device cpu'
    )


@dataclass(frozen=True)
class MeasuredLatencies:
    """Medians in ms, for a whole batch.

    Attributes:
        stem: Latency of the stem.
        blocks: For each block, that of each of its choices.
        paths: For each of some paths, that of its whole backbone.
    """

    stem: float
    blocks: tuple[tuple[float, ...], ...]
    paths: tuple[float, ...]


@torch.no_grad()
def measure_latencies(
    supernet: DetNASSupernet,
    images: Tensor,
    *,
    rounds: int,
    rng: np.random.Generator,
    paths: Sequence[ArchPath] = (),
    warm_up: int = 2,
) -> MeasuredLatencies:
    """Measures each choice of each block of a supernet, and whole paths.

    A round runs as many random paths as there are choices, so that it times
    each choice once, behind others that a path may have; then each given
    path as a whole. What differs between rounds, such as the load of the
    machine, meets all of them alike.

    Args:
        supernet: The supernet, on the device.
        images: ``(N, 3, H, W)``, on the device.
        rounds: How often each is measured; the medians are kept.
        rng: Draws the paths that time the choices.
        paths: Paths to measure as a whole.
        warm_up: Rounds before the first that counts.

    Raises:
        InputError: If there is no round.
    """
    _require_rounds(rounds)
    supernet.eval()
    space = supernet.search_space
    all_blocks = np.arange(space.num_blocks)
    blocks = np.empty((rounds, space.num_blocks, space.num_choices))
    stems, wholes = [], []
    for index in range(-warm_up, rounds):
        orders = [rng.permutation(space.num_choices) for _ in space.blocks]
        timed = [
            (path, _time_layers(supernet, images, path))
            for path in zip(*orders, strict=True)
        ]
        whole = [_time_path(supernet, images, path) for path in paths]
        if index < 0:
            continue
        for path, (stem, *times) in timed:
            stems.append(stem)
            blocks[index, all_blocks, path] = times
        wholes.append(whole)
    return MeasuredLatencies(
        statistics.median(stems),
        tuple(map(tuple, np.median(blocks, axis=0).tolist())),
        tuple(np.median(np.array(wholes), axis=0).tolist()),
    )


@torch.no_grad()
def measure_parts(
    run: Callable[[], object],
    parts: Mapping[str, nn.Module],
    device: torch.device,
    *,
    rounds: int,
    warm_up: int = 2,
) -> tuple[list[float], dict[str, float]]:
    """Measures a model, and parts of it that run one after the other.

    The whole and the parts are measured in different runs by turns, so that
    the marks between parts cost the whole nothing.

    Args:
        run: Runs the model once.
        parts: Modules that each run once, in this order.
        device: The device they run on.
        rounds: How often.
        warm_up: Rounds before the first that counts.

    Returns:
        The ms of each whole run, and the median ms of each part; what is
        between and behind them is ``'rest'``.

    Raises:
        InputError: If there is no round.
    """
    _require_rounds(rounds)
    stopwatch = Stopwatch(device)
    wholes, times = [], []
    for index in range(-warm_up, rounds):
        stopwatch.mark()
        run()
        stopwatch.mark()
        whole = stopwatch.intervals()
        with _marked(parts.values(), stopwatch):
            stopwatch.mark()
            run()
            stopwatch.mark()
        intervals = stopwatch.intervals()
        if index >= 0:
            wholes += whole
            # Before, between and behind the parts are the rest.
            times.append([*intervals[1::2], sum(intervals[::2])])
    medians = np.median(np.array(times), axis=0).tolist()
    return wholes, dict(zip((*parts, 'rest'), medians, strict=True))


def _require_rounds(rounds: int) -> None:
    if rounds < 1:
        raise InputError(f'`rounds` must be at least 1, got {rounds}')


@contextlib.contextmanager
def _marked(
    modules: Iterable[nn.Module], stopwatch: Stopwatch
) -> Iterator[None]:
    """Marks the beginning and the end of each module's run."""

    def mark(*_: object) -> None:
        stopwatch.mark()

    handles = []
    for module in modules:
        handles.append(module.register_forward_pre_hook(mark))
        handles.append(module.register_forward_hook(mark))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _time_layers(
    supernet: DetNASSupernet, images: Tensor, path: ArchPath
) -> list[float]:
    """Runs a path, and returns the ms of the stem and of each block."""
    layers: list[nn.Module] = [supernet.stem]
    layers += [
        choices[choice]
        for choices, choice in zip(supernet.blocks, path, strict=True)
    ]
    stopwatch = Stopwatch(images.device)
    x = images
    stopwatch.mark()
    for layer in layers:
        x = layer(x)
        stopwatch.mark()
    return stopwatch.intervals()


def _time_path(
    supernet: DetNASSupernet, images: Tensor, path: ArchPath
) -> float:
    """Runs a path, and returns the ms of the whole backbone."""
    stopwatch = Stopwatch(images.device)
    with supernet.activate(path):
        stopwatch.mark()
        supernet(images)
        stopwatch.mark()
    (interval,) = stopwatch.intervals()
    return interval
