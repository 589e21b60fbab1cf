"""Compare the ranking by search scores with the ranking after training.

The table has Kendall's tau, Spearman's rho and top-k recall with bootstrap
intervals, and the same for MACs and parameters alone as baselines.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from net_results import read_results, read_test_metric, require_finite
from rich.console import Console
from rich.table import Table

from detnas_mm.evaluation.rank_correlation import (
    Bootstrap,
    Estimate,
    RankAgreement,
    kendall_difference,
    rank_agreement,
)
from detnas_mm.structures import Candidate, SearchRecord, Status
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

BASELINES = ('macs', 'params')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--scores',
        nargs='+',
        action='append',
        required=True,
        metavar='NAME RECORD',
        help='name of the scores, then work dirs or search_record.jsonl '
        'files of the searches; repeatable',
    )
    parser.add_argument(
        '--results',
        type=Path,
        help='results of the trained networks: JSON {digits: number}, or CSV '
        'with the columns path and the metric',
    )
    parser.add_argument(
        '--net',
        nargs=2,
        action='append',
        default=[],
        metavar=('PATH', 'TEST_DIR'),
        help='digits, and work dir of its tools/test.py; repeatable',
    )
    parser.add_argument(
        '--metric', help='metric of the results; default: metric of the search'
    )
    parser.add_argument('--top-k', type=int, default=5)
    parser.add_argument('--resamples', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='JSON file to write')
    return parser.parse_args()


def read_candidates(files: list[str]) -> dict[str, Candidate]:
    """Read the scored candidates of some searches, by their digits."""
    found = {}
    for name in files:
        for candidate in SearchRecord.read(name).candidates:
            if candidate.status is Status.COMPLETE:
                found.setdefault(candidate.path, candidate)
    return found


def collect_results(args: argparse.Namespace, metric: str) -> dict[str, float]:
    """Read the results of the trained networks, by their digits."""
    results = read_results(args.results, metric) if args.results else {}
    for path, folder in args.net:
        value = read_test_metric(Path(folder), metric)
        result = {''.join(path.split()): value}
        require_finite(result, folder)
        results |= result
    if not results:
        raise InputError(
            'give results of trained networks: --results or --net'
        )
    return results


def collect_predictors(
    scored: Mapping[str, Mapping[str, Candidate]], paths: list[str]
) -> dict[str, list[float]]:
    """Return the values that rank the networks: scores and costs."""
    for name, candidates in scored.items():
        missing = [path for path in paths if path not in candidates]
        if missing:
            raise InputError(
                f'{len(missing)} trained networks have no score in {name}, '
                f'such as {missing[0]}; score them by tools/search.py --paths'
            )
    predictors = {
        name: [candidates[path].fitness for path in paths]
        for name, candidates in scored.items()
    }
    candidates = next(iter(scored.values()))
    for cost in BASELINES:
        predictors[cost] = [getattr(candidates[path], cost) for path in paths]
    return predictors


def compare(
    predictors: Mapping[str, list[float]],
    results: list[float],
    k: int,
    bootstrap: Bootstrap,
) -> tuple[dict[str, RankAgreement], dict[str, Estimate]]:
    """Compare each ranking with the results, and with the ranking by MACs.

    Predictors that are equal for all networks are left out.

    Raises:
        InputError: If there are fewer than three networks.
    """
    if len(results) < 3:
        raise InputError(
            'a ranking needs the results of at least 3 networks, got '
            f'{len(results)}'
        )
    ranking = {
        name: values
        for name, values in predictors.items()
        if len(set(values)) > 1
    }
    agreement = {
        name: rank_agreement(values, results, k=k, bootstrap=bootstrap)
        for name, values in ranking.items()
    }
    beyond_macs = {
        name: kendall_difference(
            values, predictors['macs'], results, bootstrap
        )
        for name, values in ranking.items()
        if name != 'macs' and 'macs' in ranking
    }
    return agreement, beyond_macs


def print_table(
    agreement: Mapping[str, RankAgreement],
    beyond_macs: Mapping[str, Estimate],
    names: Iterable[str],
    num_nets: int,
    k: int,
) -> None:
    table = Table(title=f'Ranking of {num_nets} trained networks')
    table.add_column('ranked by')
    for column in (
        "Kendall's tau", "Spearman's rho", f'top-{k} recall', "tau - MACs' tau"
    ):  # fmt: skip
        table.add_column(column, justify='right')
    for name, ranks in agreement.items():
        cells = [ranks.kendall, ranks.spearman, ranks.top_k_recall]
        cells.append(beyond_macs.get(name))
        table.add_row(name, *map(text, cells))
    Console().print(table)
    for name in sorted(set(names) - set(agreement)):
        print(f'{name}: the same for all networks, no ranking')
    print('in brackets: 95 % intervals of the bootstrap over the networks')


def text(estimate: Estimate | None) -> str:
    if estimate is None:
        return ''
    return f'{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]'


def main() -> None:
    args = parse_args()
    for name, *files in args.scores:
        if not files or name in BASELINES:
            raise InputError(
                f'--scores takes a name and records, got {name!r} with '
                f'{len(files)} records'
            )
    bootstrap = Bootstrap(resamples=args.resamples, seed=args.seed)
    metric = args.metric or SearchRecord.read(args.scores[0][1]).header.metric
    results = collect_results(args, metric)
    paths = sorted(results)
    scored = {name: read_candidates(files) for name, *files in args.scores}
    predictors = collect_predictors(scored, paths)
    values = [results[path] for path in paths]
    agreement, beyond_macs = compare(predictors, values, args.top_k, bootstrap)
    print_table(agreement, beyond_macs, predictors, len(paths), args.top_k)
    if args.out:
        content = {
            'metric': metric,
            'top_k': args.top_k,
            'bootstrap': asdict(bootstrap),
            'networks': {
                path: {'result': results[path]}
                | {name: row[index] for name, row in predictors.items()}
                for index, path in enumerate(paths)
            },
            'agreement': {name: asdict(a) for name, a in agreement.items()},
            'beyond_macs': {
                name: asdict(gain) for name, gain in beyond_macs.items()
            },
        }
        write_atomically(args.out, json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    run_command(main)
