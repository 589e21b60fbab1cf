"""Results of networks that were trained by themselves."""

import csv
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from detnas_mm.utils.errors import InputError


def read_test_metrics(work_dir: Path) -> dict[str, float]:
    """Reads the metrics that the latest test left in its work dir.

    Raises:
        InputError: If there was no test.
    """
    files = sorted(work_dir.glob('*/*.json'))
    if not files:
        raise InputError(f'no result of tools/test.py in {work_dir}')
    return json.loads(files[-1].read_text())


def read_test_metric(work_dir: Path, metric: str) -> float:
    """Reads one metric of the latest test.

    Raises:
        InputError: If there was no test.
        InputError: If the test has no such metric.
    """
    metrics = read_test_metrics(work_dir)
    if metric not in metrics:
        raise InputError(
            f'the test in {work_dir} has no {metric!r}, but '
            f'{", ".join(metrics)}'
        )
    return metrics[metric]


def read_results(file: Path, metric: str) -> dict[str, float]:
    """Reads results by path digits.

    Args:
        file: A JSON file ``{digits: number}``, or ``{digits: {metric:
            number}}``; or a CSV file with a column ``path`` and one of the
            metric.
        metric: The metric.

    Raises:
        InputError: If there is no such file.
        InputError: If it has another content, or a result is not finite.
    """
    if not file.is_file():
        raise InputError(f'no results at {file}')
    try:
        if file.suffix == '.csv':
            with file.open(newline='') as lines:
                results = _from_rows(csv.DictReader(lines), metric)
        else:
            results = _from_mapping(json.loads(file.read_text()), metric)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'{file} holds no results: expected JSON {{digits: number}} or '
            f'{{digits: {{{metric!r}: number}}}}, or CSV with the columns '
            f'path and {metric} ({type(error).__name__}: {error})'
        ) from error
    require_finite(results, file)
    return results


def require_finite(results: Mapping[str, float], source: object) -> None:
    """Makes sure that each network has a result.

    Args:
        results: Results by path digits.
        source: Where they come from, for the message.

    Raises:
        InputError: If one is NaN or infinite; it names the network.
    """
    for path, result in results.items():
        if not math.isfinite(result):
            raise InputError(
                f'the result of network {path} in {source} is {result}, '
                'expected a finite number: leave it out, or test it again'
            )


def _from_rows(rows: Iterable[Mapping], metric: str) -> dict[str, float]:
    return {_digits(row['path']): float(row[metric]) for row in rows}


def _from_mapping(content: Mapping, metric: str) -> dict[str, float]:
    return {
        _digits(path): float(
            value[metric] if isinstance(value, Mapping) else value
        )
        for path, value in content.items()
    }


def _digits(text: str) -> str:
    return ''.join(text.split())
