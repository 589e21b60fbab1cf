"""Measure the latency of each choice of each block on this device.

The table predicts the latency of any path, and a search can bound it:
constraint=dict(max_latency=MS, latency_table=FILE).
"""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from detnas_mm.cost import LatencyTable
from detnas_mm.engine.network_arguments import (
    add_device_option,
    add_shape_option,
    image_size,
)
from detnas_mm.models import build_model, find_supernet
from detnas_mm.models.latency import (
    PRECISIONS,
    measure_latency_table,
)
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.files import require_folder


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a supernet')
    parser.add_argument('out', type=Path, help='JSON file to write')
    add_shape_option(parser)
    parser.add_argument('--batch-size', type=int, default=1)
    add_device_option(parser)
    parser.add_argument('--threads', type=int, help='threads of a CPU')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument(
        '--rounds', type=int, default=20, help='measurements of each choice'
    )
    parser.add_argument(
        '--check-paths',
        type=int,
        default=16,
        help='random paths whose whole backbone is measured for comparison',
    )
    parser.add_argument('--seed', type=int, default=0)
    add_common_arguments(parser)
    return parser.parse_args()


def print_table(table: LatencyTable) -> None:
    space = table.search_space
    size = 'x'.join(map(str, table.input_size))
    threads = f', threads: {table.threads}' if table.threads else ''
    grid = Table(
        title=f'ms at {size}, batch {table.batch_size}, {table.precision}'
        f'{threads}\n{table.device}'
    )
    for column in ('block', 'stage', 'stride', *space.choice_names):
        grid.add_column(column, justify='right')
    grid.add_row('stem', '', '2', f'{table.stem:.3f}')
    rows = zip(space.blocks, table.blocks, strict=True)
    for index, (position, row) in enumerate(rows):
        where = (index, position.stage + 1, position.stride)
        grid.add_row(*map(str, where), *(f'{value:.3f}' for value in row))
    Console().print(grid)
    check = table.check
    print(
        f'whole backbones of {check["paths"]} random paths: mean absolute '
        f'error {check["mape"]:.1%} (signed {check["bias"]:+.1%}), '
        f"Kendall's tau {check['kendall']:.2f}, Spearman's rho "
        f'{check["spearman"]:.2f}'
    )
    if table.is_inaccurate:
        print(
            'the table is inaccurate: measure again when nothing else runs '
            'on the device, or with more --rounds'
        )


def main() -> None:
    args = parse_args()
    require_folder(args.out.parent)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = load_config(args)
    table = measure_latency_table(
        find_supernet(build_model(config)),
        input_size=image_size(args, config),
        batch_size=args.batch_size,
        device=args.device,
        precision=args.precision,
        channels_last=args.channels_last,
        rounds=args.rounds,
        check_paths=args.check_paths,
        seed=args.seed,
    )
    table.save(args.out)
    print_table(table)
    print(f'written to {args.out}')


if __name__ == '__main__':
    run_command(main)
