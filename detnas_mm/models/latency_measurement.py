"""The table of latencies of a supernet on this device."""

import contextlib

import numpy as np
import torch

from detnas_mm.cost import LatencyTable
from detnas_mm.evaluation.rank_correlation import kendall, spearman
from detnas_mm.models import DetNASSupernet
from detnas_mm.models.latency import device_name, measure_latencies
from detnas_mm.utils.errors import InputError

PRECISIONS = {'fp32': None, 'fp16': torch.float16, 'bf16': torch.bfloat16}


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
    """Measures a table, and how well it predicts whole backbones.

    Args:
        supernet: The supernet; its weights do not matter.
        input_size: Height and width of the images.
        batch_size: Number of images that run together.
        device: Name of the device, as torch has it.
        precision: ``'fp32'``, or ``'fp16'`` or ``'bf16'`` by autocast.
        channels_last: Whether the channels are last in memory.
        rounds: How often each choice and each whole path is measured.
        check_paths: Random paths that are measured as a whole.
        seed: Seed of the paths.

    Raises:
        InputError: If a setting is out of its range.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f'`precision` must be one of {", ".join(PRECISIONS)}, got '
            f'{precision!r}'
        )
    if check_paths < 3:
        raise InputError(
            f'`check_paths` must be at least 3, got {check_paths}'
        )
    device = torch.device(device)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    supernet = supernet.to(device=device, memory_format=layout)
    images = torch.randn(batch_size, 3, *input_size, device=device)
    images = images.contiguous(memory_format=layout)
    rng = np.random.default_rng(seed)
    paths = supernet.search_space.random_paths(rng, check_paths)
    with _precision(device, precision):
        measured = measure_latencies(
            supernet, images, rounds=rounds, rng=rng, paths=paths
        )
    settings = dict(
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
    table = LatencyTable(**settings)
    predicted = [table.latency(path) for path in paths]
    return LatencyTable(
        **settings, check=prediction_error(predicted, measured.paths)
    )


def prediction_error(
    predicted: list[float], measured: tuple[float, ...]
) -> dict[str, float]:
    """Compares predicted latencies with measured ones.

    Returns:
        ``paths``, their number; ``mape``, the mean of the absolute errors as
        a share of what was measured, ``bias``, that of the signed ones; and
        the rank correlations ``kendall`` and ``spearman``.
    """
    predicted, measured = np.array(predicted), np.array(measured)
    errors = (predicted - measured) / measured
    return {
        'paths': len(measured),
        'mape': float(np.abs(errors).mean()),
        'bias': float(errors.mean()),
        'kendall': float(kendall(predicted, measured)),
        'spearman': float(spearman(predicted, measured)),
    }


def _precision(
    device: torch.device, precision: str
) -> contextlib.AbstractContextManager:
    dtype = PRECISIONS[precision]
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)
