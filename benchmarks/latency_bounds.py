"""Search under a bound on latency, against a bound on multiply-adds.

For each of three sizes of networks and each seed: search under a bound on
MACs, look up the latency of the network that is found, and search under this
latency. So both networks are as fast by the table. The last columns say
whether ONNX Runtime agrees. Unknown arguments are passed on to the
measurements, such as `--clock cpu`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import add_json_option, report
from searches import (
    CONCENTRATION,
    ROOT,
    SEARCH,
    add_processes_option,
    run_search,
    run_tool,
)

from detnas_mm.compat import setup_compat
from detnas_mm.cost import LatencyTable
from detnas_mm.models import DetNASSupernet, exact_cost_table
from detnas_mm.structures import Candidate, best_candidate
from detnas_mm.utils.cli import run_command

sys.path.insert(0, str(ROOT / 'tools/analysis_tools'))

import run_latency
from latency_blocks import measure_nets

# The middle of each third of random networks, by their MACs.
SIZES = {'small': 1 / 6, 'middle': 1 / 2, 'large': 5 / 6}
RUNTIME = 'onnxruntime'


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument('--config', default=SEARCH, help='config of a search')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    add_processes_option(parser)
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs/latency_bounds',
        help='folder for the table and the searches; both are continued',
    )
    add_json_option(parser)
    return parser.parse_known_args()


def measure_table(
    args: argparse.Namespace, options: Sequence[str]
) -> LatencyTable:
    """Measure the table of the space, unless that is done."""
    file = args.out / 'table.json'
    if not file.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        run_tool(
            'analysis_tools/measure_latency.py', args.config, file,
            '--runtime', RUNTIME, *options,
            '--without-rest', '--work-dir', args.out,
        )  # fmt: skip
    return LatencyTable.load(file)


def search(
    args: argparse.Namespace,
    name: str,
    seed: int,
    bounds: Sequence[str],
    earlier: list[Path],
) -> Candidate:
    """Return the best candidate of a search under some bounds.

    Scores of the searches before it are not bought twice.
    """
    free = ['min_macs=None', 'max_macs=None']
    options = [f'val_cfg.constraint.{bound}' for bound in [*free, *bounds]]
    reuse = ['--reuse', *earlier] if earlier else []
    work_dir = args.out / f'{name}_seed{seed}'
    candidates = run_search(
        args.config,
        args.checkpoint,
        work_dir,
        ['--seed', seed, *reuse, '--cfg-options', *options],
        args.processes,
    )
    earlier.append(work_dir)
    return best_candidate(candidates)


def main() -> None:
    args, options = parse_args()
    parser = argparse.ArgumentParser()
    run_latency.add_runtime_options(parser, ['fp32', 'int8'])
    runtime_args = parser.parse_args(options)
    setup_compat()
    table = measure_table(args, options)
    space = table.search_space
    macs = exact_cost_table(space).macs
    rng = np.random.default_rng(0)
    drawn = [macs(p) for p in space.random_paths(rng, 1000, CONCENTRATION)]
    rows, paths = [], []
    earlier: list[Path] = []
    for name, share in SIZES.items():
        most = int(np.quantile(drawn, share))
        for seed in args.seeds:
            bounds = [f'max_macs={most}']
            by_macs = search(args, f'{name}_macs', seed, bounds, earlier)
            ms = table.latency(space.parse(by_macs.path))
            bounds = [f'latency.table={args.out / "table.json"}']
            bounds.append(f'latency.max_ms={ms}')
            by_ms = search(args, f'{name}_ms', seed, bounds, earlier)
            paths.append(space.parse(by_ms.path))
            rows.append(
                {
                    'bound': f'{name}, {most / 1e6:.1f}M',
                    'seed': seed,
                    'ms': ms,
                    'score by MACs': by_macs.fitness,
                    'score by ms': by_ms.fitness,
                    'predicted': table.latency(paths[-1]),
                }
            )
    images = torch.rand(1, 3, *table.input_size)
    measured, _ = measure_nets(
        DetNASSupernet(space), paths, images, RUNTIME, runtime_args
    )
    for row, ms in zip(rows, measured, strict=True):
        row['measured'] = ms
        row['error'] = ms / row['predicted'] - 1
    report('Found under equal latencies', rows, args)


if __name__ == '__main__':
    run_command(main)
