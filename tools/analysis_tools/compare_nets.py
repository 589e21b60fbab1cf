"""Print search scores beside test results after retraining."""

import argparse
from pathlib import Path

from net_results import read_test_metrics
from rich.console import Console
from rich.table import Table

from detnas_mm.cost import LatencyTable
from detnas_mm.structures import Candidate, SearchRecord, SearchSpace
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--search',
        nargs='+',
        type=Path,
        required=True,
        help='work dirs of searches that scored the paths',
    )
    parser.add_argument(
        '--net',
        nargs=3,
        action='append',
        required=True,
        metavar=('NAME', 'PATH', 'TEST_DIR'),
        help='name, digits, and work dir of its tools/test.py; repeatable',
    )
    parser.add_argument(
        '--latency-table',
        type=Path,
        help='table of measure_latency.py: adds a column of ms',
    )
    return parser.parse_args()


def find_candidate(records: list[SearchRecord], path: str) -> Candidate:
    """Find a path among the candidates of some searches.

    Raises:
        InputError: If none of the searches has scored it.
    """
    for record in records:
        for candidate in record.candidates:
            if candidate.path == path:
                return candidate
    raise InputError(f'path {path} was not scored in any of the searches')


def read_latencies(
    file: Path | None, space: SearchSpace
) -> LatencyTable | None:
    """Read a table of the space, if one is given."""
    table = LatencyTable.load(file) if file else None
    if table is not None and table.search_space != space:
        raise InputError(f'{file} is not of the search space of the search')
    return table


def main() -> None:
    args = parse_args()
    records = [SearchRecord.read(folder) for folder in args.search]
    header = records[0].header
    space = SearchSpace(**header.search_space)
    latencies = read_latencies(args.latency_table, space)
    table = Table(title='Backbones, retrained from scratch')
    columns = ['', 'path', 'MACs (M)', 'params (M)', 'search', 'test']
    if latencies is not None:
        columns.append(f'ms ({latencies.runtime})')
    for column in columns:
        table.add_column(column, justify='right' if column else 'left')
    for name, path, folder in args.net:
        digits = space.format(space.parse(path))
        candidate = find_candidate(records, digits)
        metrics = read_test_metrics(Path(folder))
        ms = []
        if latencies is not None:
            ms.append(f'{latencies.latency(space.parse(path)):.3f}')
        table.add_row(
            name,
            space.format_stages(space.parse(path)),
            f'{candidate.macs / 1e6:.1f}',
            f'{candidate.params / 1e6:.3f}',
            f'{candidate.fitness:.4f}',
            f'{metrics[header.metric]:.3f}',
            *ms,
        )
    Console().print(table)
    if latencies is not None:
        print(
            f'ms: predicted for {latencies.device}, {latencies.precision}, at '
            f'{"x".join(map(str, latencies.input_size))}'
        )
    print(
        f'search: {header.metric} with the weights of the supernet, search '
        f'split\ntest: {header.metric} after retraining, test split; MACs and '
        'params are\nof the backbone alone, MACs at '
        f'{"x".join(map(str, header.constraint["input_size"]))}'
    )


if __name__ == '__main__':
    run_command(main)
