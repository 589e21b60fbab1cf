"""Print search scores beside test results after retraining."""

import argparse
from pathlib import Path

import run_latency
from net_results import read_test_metrics
from rich.console import Console
from rich.table import Table

from detnas_mm.cost import LatencyTable
from detnas_mm.structures import ArchPath, Candidate, SearchRecord, SearchSpace
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
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
        help='table of measure_latency.py: adds a column of predicted ms',
    )
    measured = parser.add_argument_group(
        'measured latency', 'a column of ms, measured now on this machine'
    )
    measured.add_argument(
        '--config', help='config of the supernet; needs --runtime'
    )
    measured.add_argument(
        '--runtime', choices=run_latency.PREPARE, help='what runs the nets'
    )
    run_latency.add_runtime_options(
        measured, [*run_latency.PRECISIONS, 'int8']
    )
    measured.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help="size of the image; by default the size of the config's test "
        'images',
    )
    add_common_arguments(measured)
    args = parser.parse_args()
    if (args.config is None) != (args.runtime is None):
        parser.error('--config and --runtime need each other')
    return args


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


def measure(
    args: argparse.Namespace, space: SearchSpace, paths: list[ArchPath]
) -> tuple[list[float], str]:
    """Measure paths in a runtime; return their ms, and what they are for."""
    # Records are compared without building a model.
    import torch
    from latency_blocks import measure_nets

    from detnas_mm.compat import setup_compat
    from detnas_mm.engine.network_arguments import image_size
    from detnas_mm.models import build_model, find_supernet

    setup_compat()
    config = load_config(args)
    supernet = find_supernet(build_model(config))
    if supernet.search_space != space:
        raise InputError(f'{args.config} has another space than the search')
    size = image_size(args, config)
    images = torch.rand(
        1, 3, *size, generator=torch.Generator().manual_seed(0)
    )
    try:
        least, facts = measure_nets(
            supernet, paths, images, args.runtime, args
        )
    except run_latency.LatencyError as error:
        raise InputError(str(error)) from error
    return least, (
        f'measured ms: {facts["runtime"]}, {facts["device"]}, '
        f'{facts["software"]}, '
        f'{facts["precision"]}, threads: {facts["threads"]}, minimum of '
        f'{args.rounds} rounds at {"x".join(map(str, size))}'
    )


def main() -> None:
    args = parse_args()
    records = [SearchRecord.read(folder) for folder in args.search]
    header = records[0].header
    space = SearchSpace(**header.search_space)
    paths = [space.parse(path) for _, path, _ in args.net]
    candidates = [find_candidate(records, space.format(p)) for p in paths]
    metrics = [read_test_metrics(Path(net[2])) for net in args.net]
    latencies = read_latencies(args.latency_table, space)
    table = Table(title='Backbones, retrained from scratch')
    columns = ['', 'path', 'MACs (M)', 'params (M)', 'search', 'test']
    # Columns of ms, and a line below the table for each.
    ms, notes = [], []
    if latencies is not None:
        columns.append('predicted ms')
        ms.append([latencies.latency(path) for path in paths])
        notes.append(
            f'predicted ms: {latencies.runtime}, {latencies.device}, '
            f'{latencies.precision}, threads: {latencies.threads}, at '
            f'{"x".join(map(str, latencies.input_size))}'
        )
    if args.runtime:
        columns.append('measured ms')
        least, note = measure(args, space, paths)
        ms.append(least)
        notes.append(note)
    for column in columns:
        table.add_column(column, justify='right' if column else 'left')
    for index, candidate in enumerate(candidates):
        table.add_row(
            args.net[index][0],
            space.format_stages(paths[index]),
            f'{candidate.macs / 1e6:.1f}',
            f'{candidate.params / 1e6:.3f}',
            f'{candidate.fitness:.4f}',
            f'{metrics[index][header.metric]:.3f}',
            *(f'{column[index]:.3f}' for column in ms),
        )
    Console().print(table)
    for note in notes:
        print(note)
    print(
        f'search: {header.metric} with the weights of the supernet, search '
        f'split\ntest: {header.metric} after retraining, test split; MACs and '
        'params are\nof the backbone alone, MACs at '
        f'{"x".join(map(str, header.constraint["input_size"]))}'
    )


if __name__ == '__main__':
    run_command(main)
