"""Search under a bound on latency, against a bound on multiply-adds.

For each of three sizes of networks and each seed: search under a bound on
MACs, look up the latency of the network that is found, and search under this
latency. So both networks are as fast by the table. The third column of
numbers says whether the device agrees.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import add_json_option, report
from searches import ROOT, SEARCH, run_search, run_tool

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
CONCENTRATION = 0.4
# Of the image at which a search counts MACs by default.
MACS_SIZE = (224, 224)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of the supernet')
    parser.add_argument('--config', default=SEARCH, help='config of a search')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        help='processes that share the candidates',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs/latency_bounds',
        help='folder for the table and the searches; both are continued',
    )
    run_latency.add_runtime_options(parser, ['bf16', 'int8'])
    add_json_option(parser)
    parser.set_defaults(runtime='onnxruntime')
    return parser.parse_args()


def measure_table(args: argparse.Namespace) -> LatencyTable:
    """Measure the table of the space, unless that is done."""
    file = args.out / 'table.json'
    if not file.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        run_tool(
            'analysis_tools/measure_latency.py', args.config, file,
            '--runtime', args.runtime, '--clock', args.clock,
            '--precision', args.precision, '--rounds', args.rounds,
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
    args = parse_args()
    setup_compat()
    table = measure_table(args)
    space = table.search_space
    macs = exact_cost_table(space, MACS_SIZE).macs
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
        DetNASSupernet(space), paths, images, args.runtime, args
    )
    for row, ms in zip(rows, measured, strict=True):
        row['measured'] = ms
        row['error'] = ms / row['predicted'] - 1
    report('Found under equal latencies', rows, args)


if __name__ == '__main__':
    run_command(main)
