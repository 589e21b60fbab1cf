"""Measure the latency of each choice of each block in a runtime.

The table predicts the latency of any path, and a search can bound it:
constraint=dict(latency=dict(table=FILE, max_ms=MS)).

On one machine:  measure_latency.py CONFIG TABLE --runtime onnxruntime
For another one: measure_latency.py export CONFIG FOLDER, there
python FOLDER/run_latency.py FOLDER TIMES --runtime ..., and at home
measure_latency.py table FOLDER TIMES TABLE.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import run_latency
import torch
from latency_blocks import (
    Parts,
    build_table,
    collect_parts,
    export_parts,
    read_times,
)
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from detnas_mm.compat import setup_compat
from detnas_mm.cost import LatencyTable
from detnas_mm.cost.latency_table import EAGER
from detnas_mm.engine.network_arguments import (
    add_device_option,
    add_shape_option,
    image_size,
)
from detnas_mm.models import DetNASSupernet, build_model, find_supernet
from detnas_mm.models.latency import DeviceTimer, device_name
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_folder, write_atomically

HALVES = ('export', 'table')
# Kendall's tau of two halves of the rounds, below which neither is a guide.
UNSURE = 0.5
AUTOCAST = {'fp32': None, 'fp16': torch.float16, 'bf16': torch.bfloat16}


def parse_args() -> argparse.Namespace:
    half = sys.argv[1] if sys.argv[1:2] and sys.argv[1] in HALVES else None
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if half:
        parser.add_argument('half', choices=[half])
    else:
        parser.set_defaults(half=None)
    if half == 'table':
        parser.add_argument('folder', type=Path, help='folder of blocks')
        parser.add_argument('times', type=Path, help='what was measured there')
        parser.add_argument('out', type=Path, help='JSON file to write')
        return parser.parse_args()
    parser.add_argument('config', help='config of a supernet')
    if half == 'export':
        parser.add_argument('folder', type=Path, help='folder to write')
        parser.add_argument(
            '--int8', action='store_true', help='files that compute in 8 bits'
        )
    else:
        parser.add_argument('out', type=Path, help='JSON file to write')
        parser.add_argument(
            '--runtime',
            choices=(EAGER, *run_latency.PREPARE),
            default=EAGER,
            help='what runs the blocks; torch is the eager mode of PyTorch, '
            'which no deployed runtime resembles (default: torch)',
        )
        run_latency.add_runtime_options(parser, [*AUTOCAST, 'int8'])
        add_device_option(parser)
        parser.add_argument(
            '--channels-last', action='store_true', help='with torch alone'
        )
    add_shape_option(parser)
    parser.add_argument('--batch-size', type=int, default=1)
    parser.add_argument(
        '--check-paths',
        type=int,
        default=20,
        help='paths whose whole backbone is measured for comparison, half of '
        'them drawn unevenly (default: 20)',
    )
    parser.add_argument('--seed', type=int, default=0)
    add_common_arguments(parser)
    return parser.parse_args()


def collect(
    args: argparse.Namespace, device: str = 'cpu'
) -> tuple[Parts, DetNASSupernet]:
    """Build the model of the config, and collect its parts."""
    setup_compat()
    config = load_config(args)
    model = build_model(config).to(device)
    supernet = find_supernet(model)
    size = image_size(args, config)
    rng = torch.Generator().manual_seed(args.seed)
    images = torch.rand(args.batch_size, 3, *size, generator=rng).to(device)
    parts = collect_parts(model, supernet, images, args.check_paths, args.seed)
    return parts, supernet


def export(args: argparse.Namespace, folder: Path, is_int8: bool) -> None:
    """Write the parts, and beside them what measures them."""
    parts, supernet = collect(args)
    export_parts(parts, supernet, folder, is_int8)
    shutil.copy(run_latency.__file__, folder)
    print(f'{len(parts.modules)} files in {folder}')


def measure_in_runtime(args: argparse.Namespace) -> LatencyTable:
    """Export to a temporary folder, measure it, and build the table."""
    if args.channels_last:
        raise InputError('--channels-last is for --runtime torch')
    is_int8 = args.precision == 'int8'
    if is_int8:
        args.precision = 'fp32'
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, 'parts')
        export(args, folder, is_int8)
        times = run_latency.measure_folder(folder, args.runtime, args)
        file = Path(temporary, 'times.json')
        write_atomically(file, json.dumps(times))
        return build_table(*read_times(folder, file))


def prepare_torch(
    module: nn.Module, inputs: list[Tensor], args: argparse.Namespace
) -> run_latency.Run:
    device = torch.device(args.device)
    layout = torch.contiguous_format
    if args.channels_last:
        layout = torch.channels_last
    module = module.to(memory_format=layout)
    inputs = [x.contiguous(memory_format=layout) for x in inputs]
    dtype = AUTOCAST[args.precision]
    timer = DeviceTimer(device)

    @torch.no_grad()
    def run() -> float:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            for _ in range(4):
                timer.mark()
                module(*inputs)
            timer.mark()
        # The first run warms the caches.
        return min(timer.intervals()[1:])

    return run


def measure_eager(args: argparse.Namespace) -> LatencyTable:
    if args.precision == 'int8':
        raise InputError('--precision int8 is not for --runtime torch')
    torch.set_num_threads(args.threads)
    parts, _ = collect(args, args.device)
    runs = {
        name: prepare_torch(module, inputs, args)
        for name, (module, inputs) in parts.modules.items()
    }
    times = dict(
        times=run_latency.measure(runs, args.rounds),
        rounds=args.rounds,
        runtime=EAGER,
        software=f'torch {torch.__version__}',
        precision=args.precision,
        channels_last=args.channels_last,
        device=args.device_name or device_name(torch.device(args.device)),
        threads=args.threads if args.device == 'cpu' else 0,
    )
    return build_table(parts.manifest, times)


def print_table(table: LatencyTable) -> None:
    space = table.search_space
    size = 'x'.join(map(str, table.input_size))
    threads = f', threads: {table.threads}' if table.threads else ''
    grid = Table(
        title=f'ms in {table.runtime} at {size}, batch {table.batch_size}, '
        f'{table.precision}{threads}\n{table.statistic}, rounds: '
        f'{table.rounds}\n{table.device}\n{table.software}'
    )
    for column in ('block', 'stage', 'stride', *space.choice_names):
        grid.add_column(column, justify='right')
    grid.add_row('stem', '', '2', f'{table.stem:.3f}')
    rows = zip(space.blocks, table.blocks, strict=True)
    for index, (position, row) in enumerate(rows):
        where = (index, position.stage + 1, position.stride)
        grid.add_row(*map(str, where), *(f'{value:.3f}' for value in row))
    if table.rest is not None:
        grid.add_row('rest', '', '', f'{table.rest:.3f}')
    Console().print(grid)


def print_check(table: LatencyTable) -> None:
    check = table.check
    grid = Table(title=f'{check["paths"]} whole backbones, predicted by')
    for column in ('', 'mean absolute error', "Kendall's tau"):
        grid.add_column(column, justify='right' if column else 'left')
    for name, key in (
        (f'the table, times {table.scale:.3f}', ''),
        ('the measurement repeated', 'repeat_'),
        ('MACs, times a factor', 'macs_'),
    ):
        error, kendall = check[f'{key}mape'], check[f'{key}kendall']
        grid.add_row(name, f'{error:.1%}', f'{kendall:.2f}')
    Console().print(grid)
    if check['repeat_kendall'] < UNSURE:
        print(
            'the measurement hardly repeats itself, so the comparison says '
            'little: measure when nothing else runs on the device, with more '
            '--rounds, or with --clock cpu'
        )
    if table.scale == 1:
        print(
            'no factor is kept: the uneven backbones need one that differs '
            f'by {check["factor_disagreement"]:+.1%} from the others'
        )
    if table.runtime == EAGER:
        print(
            "PyTorch's eager mode ranks networks otherwise than the runtime "
            'that is deployed: use --runtime to measure that one'
        )
    if table.verdict.startswith('bad'):
        print(
            f'{table.verdict}; measure again when nothing else runs on the '
            'device, or with more --rounds'
        )
    elif table.verdict:
        print(table.verdict)


def main() -> None:
    args = parse_args()
    if args.half == 'export':
        require_folder(args.folder.parent)
        export(args, args.folder, args.int8)
        return
    require_folder(args.out.parent)
    try:
        if args.half == 'table':
            table = build_table(*read_times(args.folder, args.times))
        elif args.runtime == EAGER:
            table = measure_eager(args)
        else:
            table = measure_in_runtime(args)
    except run_latency.LatencyError as error:
        raise InputError(str(error)) from error
    table.save(args.out)
    print_table(table)
    print_check(table)
    print(f'written to {args.out}')


if __name__ == '__main__':
    run_command(main)
