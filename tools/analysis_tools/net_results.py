"""Test results of networks that were trained alone."""

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

from detnas_mm.utils.errors import InputError


def read_test_metrics(work_dir: Path) -> dict[str, float]:
    """Read the metrics that the latest test wrote into its work dir."""
    files = sorted(work_dir.glob('*/*.json'))
    if not files:
        raise InputError(
            f'no result of tools/test.py in {work_dir}; run it with '
            f'--work-dir {work_dir}'
        )
    return json.loads(files[-1].read_text())


def read_test_metric(work_dir: Path, metric: str) -> float:
    """Read one metric of the latest test."""
    metrics = read_test_metrics(work_dir)
    if metric not in metrics:
        raise InputError(
            f'the test in {work_dir} has no {metric!r}, but '
            f'{", ".join(metrics)}'
        )
    return metrics[metric]


def read_results(file: Path, metric: str) -> dict[str, float]:
    """Read results by path digits.

    Args:
        file: A JSON file ``{digits: number}`` or ``{digits: {metric:
            number}}``; or a CSV file with the columns ``path`` and the metric.
        metric: The metric.

    Raises:
        InputError: If there is no such file, it has another content, or a
            result is not finite.
    """
    if not file.is_file():
        raise InputError(f'no file of results at {file}')
    try:
        if file.suffix == '.csv':
            with file.open(newline='') as lines:
                rows = {row['path']: row for row in csv.DictReader(lines)}
        else:
            rows = json.loads(file.read_text())
        results = {
            ''.join(path.split()): float(
                row[metric] if isinstance(row, Mapping) else row
            )
            for path, row in rows.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'{file} holds no results: expected JSON {{digits: number}} or '
            f'{{digits: {{{metric!r}: number}}}}, or CSV with the columns '
            f'path and {metric} ({type(error).__name__}: {error})'
        ) from error
    require_finite(results, file)
    return results


def require_finite(results: Mapping[str, float], source: object) -> None:
    """Raise an InputError that names a network whose result is not finite."""
    for path, result in results.items():
        if not math.isfinite(result):
            raise InputError(
                f'the result of network {path} in {source} is {result}, '
                'expected a finite number: leave it out, or test it again'
            )
