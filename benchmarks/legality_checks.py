"""Measure how many paths per second are checked against a constraint."""

import argparse

import numpy as np
import torch
from measuring import (
    Spread,
    add_measuring_options,
    conditions,
    measure_in_turns,
    report,
)

from detnas_mm.cost import Bounds, Constraint, cost_table
from detnas_mm.structures import SEARCH_SPACES
from detnas_mm.utils.cli import run_command

PATHS = 20_000


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--search-space',
        nargs='+',
        default=['small', 'large'],
        choices=[*SEARCH_SPACES],
    )
    add_measuring_options(parser, rounds=10)
    return parser.parse_args()


def constraints(name: str) -> dict[str, Constraint]:
    """Return bounds on one and on two costs that half of the paths meet."""
    space = SEARCH_SPACES[name]
    table = cost_table(space)
    rng = np.random.default_rng(0)
    paths = space.random_paths(rng, 1000)
    macs = float(np.median([table.macs(path) for path in paths]))
    params = float(np.median([table.params(path) for path in paths]))
    return {
        'MACs': Constraint(space, Bounds(max_macs=macs)),
        'MACs and params': Constraint(
            space, Bounds(max_macs=macs, max_params=params)
        ),
    }


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for name in args.search_space:
        space = SEARCH_SPACES[name]
        paths = space.random_paths(np.random.default_rng(1), PATHS)
        cases = {
            bounds: lambda c=constraint, p=paths: list(map(c.is_legal, p))
            for bounds, constraint in constraints(name).items()
        }
        for bounds, times in measure_in_turns(cases, args).items():
            rate = [PATHS / milliseconds * 1e3 for milliseconds in times]
            rows.append(
                {
                    'space': name,
                    'bounds on': bounds,
                    'legal, %': 100 * np.mean(cases[bounds]()),
                    'checks per second': Spread.of(rate),
                }
            )
    report('Legality checks', rows, args, **conditions(args))


if __name__ == '__main__':
    run_command(main)
