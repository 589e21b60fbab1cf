"""Latency of the blocks of a supernet, measured on this device."""

import contextlib
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from detnas_mm.cost import LatencyTable
from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.structures import ArchPath
from detnas_mm.utils.errors import InputError

PRECISIONS = {'fp32': None, 'fp16': torch.float16, 'bf16': torch.bfloat16}


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


def measure_latency_table(
    supernet: DetNASSupernet,
    *,
    input_size: tuple[int, int],
    batch_size: int = 1,
    device: str = 'cpu',
    precision: str = 'fp32',
    channels_last: bool = False,
    rounds: int = 20,
    check_paths: int = 16,
    seed: int = 0,
) -> LatencyTable:
    """Measure a table, and how well it predicts whole backbones.

    Args:
        supernet: The supernet; its weights do not matter.
        input_size: Height and width of the images.
        batch_size: Number of images per batch.
        device: torch's name of the device.
        precision: ``'fp32'``, or ``'fp16'`` or ``'bf16'`` by autocast.
        channels_last: Whether to use the channels-last memory format.
        rounds: Number of measurements of each choice and each whole path.
        check_paths: Number of random paths that are measured as a whole.
        seed: Seed of the paths.
    """
    if check_paths < 3:
        raise InputError(f'`check_paths` must be at least 3: {check_paths}')
    device = torch.device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    supernet = supernet.to(device=device, memory_format=layout)
    images = torch.randn(batch_size, 3, *input_size, device=device)
    images = images.contiguous(memory_format=layout)
    rng = np.random.default_rng(seed)
    paths = supernet.search_space.random_paths(rng, check_paths)
    with _autocast(device, precision):
        measured = measure_latencies(
            supernet, images, rounds=rounds, rng=rng, paths=paths
        )
    table = LatencyTable(
        search_space=supernet.search_space,
        shuffle=supernet.shuffle,
        input_size=tuple(input_size),
        batch_size=batch_size,
        device=device_name(device),
        threads=torch.get_num_threads() if device.type == 'cpu' else 0,
        precision=precision,
        channels_last=channels_last,
        stem=measured.stem,
        blocks=measured.blocks,
        software=f'torch {torch.__version__}',
        rounds=rounds,
    )
    predicted = np.array(list(map(table.latency, paths)))
    check = _prediction_error(predicted, np.array(measured.paths))
    return replace(table, check=check)


def _autocast(
    device: torch.device, precision: str
) -> contextlib.AbstractContextManager:
    if precision not in PRECISIONS:
        raise InputError(
            f'`precision` must be one of {", ".join(PRECISIONS)}, got '
            f'{precision!r}'
        )
    dtype = PRECISIONS[precision]
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)


def _prediction_error(
    predicted: np.ndarray, measured: np.ndarray
) -> dict[str, float]:
    errors = (predicted - measured) / measured
    return {
        'paths': len(measured),
        'mape': float(np.abs(errors).mean()),  # relative to the measured
        'bias': float(errors.mean()),  # with sign
        'kendall': float(stats.kendalltau(predicted, measured).statistic),
        'spearman': float(stats.spearmanr(predicted, measured).statistic),
    }


@dataclass(frozen=True)
class MeasuredLatencies:
    """Medians in ms, for a whole batch."""

    stem: float
    blocks: tuple[tuple[float, ...], ...]  # [block][choice]
    paths: tuple[float, ...]  # whole backbones


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
    """Measure each choice of each block of a supernet, and whole paths.

    A round runs as many random paths as there are choices, so that it times
    each choice once, after varying predecessors; then each given path as a
    whole. Differences between rounds, such as the load of the machine,
    therefore affect all measurements alike.
    """
    supernet.eval()
    space = supernet.search_space
    all_blocks = np.arange(space.num_blocks)
    # NaN stands for a choice that a block does not have.
    shape = (rounds, space.num_blocks, space.num_choices)
    blocks = np.full(shape, np.nan)
    stems, wholes = [], []
    for index in _round_indices(warm_up, rounds):
        for path in space.fair_paths(rng):
            with supernet.activate(path):
                layers = [supernet.stem, *supernet.active_blocks()]
                stem, *times = _time_layers(layers, images)
            if index >= 0:
                stems.append(stem)
                blocks[index, all_blocks, path] = times
        whole = []
        for path in paths:
            with supernet.activate(path):
                whole += _time_layers([supernet], images)
        if index >= 0:
            wholes.append(whole)
    medians = np.median(blocks, axis=0).tolist()
    rows = zip(space.allowed_choices, medians, strict=True)
    return MeasuredLatencies(
        statistics.median(stems),
        tuple(
            space.complete_row({digit: row[digit] for digit in allowed})
            for allowed, row in rows
        ),
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
    """Measure a model, and parts of it that run one after the other.

    ``run()`` runs the model, and with it each part once, in the given order.
    The whole model and its parts are timed in alternating runs, so that the
    marks between the parts do not slow down the whole.

    Returns:
        The ms of each whole run, and the median ms of each part; the time
        outside the parts is ``'rest'``.
    """
    timer = DeviceTimer(device)
    wholes, times = [], []
    for index in _round_indices(warm_up, rounds):
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


def _round_indices(warm_up: int, rounds: int) -> range:
    # Warm-up rounds have negative indices and do not count.
    if rounds < 1:
        raise InputError(f'`rounds` must be at least 1, got {rounds}')
    return range(-warm_up, rounds)


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


def _time_layers(layers: Iterable[nn.Module], x: Tensor) -> list[float]:
    """Run layers one after the other, and return the ms of each."""
    timer = DeviceTimer(x.device)
    timer.mark()
    for layer in layers:
        x = layer(x)
        timer.mark()
    return timer.intervals()
