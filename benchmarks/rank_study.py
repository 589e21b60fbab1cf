"""How well ways of scoring rank the networks of the ground truth.

Without a command it trains nothing: it compares the scores in
`digits_scores.json` with the results in `digits_nets.json`. `score WAY` adds
scores: it trains a supernet with a seed, or takes one, and scores all networks
of the table, or computes a training-free proxy. `draw WAY` draws scores
against results.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import digits_nets
import matplotlib.pyplot as plt
import numpy as np
import torch
from digits_nets import Variance, percentile
from proxies import nwot, synflow
from rich.console import Console
from rich.table import Table
from searches import (
    SEARCH,
    UNEVEN,
    add_run_options,
    data_options,
    run_search,
    train_supernet,
)

from detnas_mm.evaluation.rank_correlation import Bootstrap, Estimate, kendall
from detnas_mm.models import DetNASNet, last_checkpoint
from detnas_mm.structures import get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

FILE = Path(__file__).with_name('digits_scores.json')
RECALIBRATION = 'custom_hooks.1.num_images'
PROXY_IMAGES = 16
PROXIES = ('nwot', 'synflow')


@dataclass(frozen=True)
class Way:
    """A way to score networks by a supernet.

    Attributes:
        training: Settings of both stages of its training.
        stage_1: Further settings of the first stage.
        epochs: Epochs of both stages; by default those of the configs.
        scoring: Settings of the search.
        entangled: Whether the choices of a block share their convolutions.
        supernet: Way whose supernet it uses; by default one of its own.
    """

    training: Sequence[str] = ()
    stage_1: Sequence[str] = ()
    epochs: Sequence[int] | None = None
    scoring: Sequence[str] = ()
    entangled: bool = False
    supernet: str | None = None


# All train for as many iterations, but for the last. Four paths for an update,
# and so a fair round, are a quarter of the updates then. Distillation adds to
# each iteration a forward pass of the largest backbone.
WAYS: Mapping[str, Way] = {
    'uniform': Way(),
    'uneven': Way(UNEVEN),
    'running-statistics': Way(
        scoring=[f'{RECALIBRATION}=0'], supernet='uniform'
    ),
    'fair': Way(
        ['custom_hooks.0.fair=True', 'optim_wrapper.accumulative_counts=4']
    ),
    'four-paths': Way(['optim_wrapper.accumulative_counts=4']),
    'sandwich': Way(
        [
            'custom_hooks.0.sandwich=True',
            'optim_wrapper.accumulative_counts=4',
            'default_hooks.distillation.type='
            'detnas_mm.InPlaceDistillationHook',
        ]
    ),
    'entangled': Way(entangled=True),
    'authors-init': Way(stage_1=['model.backbone.init_cfg=None']),
    'twice-as-long': Way(epochs=(20, 10)),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--nets', type=Path, default=digits_nets.FILE)
    parser.add_argument('--scores', type=Path, default=FILE)
    digits_nets.add_split_option(parser)
    commands = parser.add_subparsers(dest='command')
    score = commands.add_parser('score', help='add the scores of a way')
    score.add_argument('way', choices=[*WAYS, *PROXIES])
    score.add_argument(
        '--seed', type=int, default=10, help='not one of the ground truth'
    )
    score.add_argument(
        '--checkpoint', type=Path, help='a supernet, in place of a new one'
    )
    add_run_options(score, 'rank_study')
    picture = commands.add_parser('draw', help='draw scores against results')
    picture.add_argument('way', choices=[*WAYS, *PROXIES])
    picture.add_argument('picture', type=Path, help='file to write, .svg')
    return parser.parse_args()


def read_nets(file: Path) -> list[dict]:
    """Read the random networks of the table, without added ones."""
    nets = digits_nets.read(file)['nets']
    return [net for net in nets if net['group'] in digits_nets.GROUPS]


def read_scores(file: Path, way: str) -> list[dict]:
    """Read the scores by a way, those of each supernet."""
    rows = json.loads(file.read_text()).get(way) if file.exists() else None
    if not rows:
        raise InputError(
            f'{file} has no scores by {way!r}; add them by `rank_study.py '
            f'score {way} --seed N`'
        )
    return rows


def score(args: argparse.Namespace) -> None:
    """Score the networks of the table and add the scores to the file.

    Networks with scores, by the same way and seed, are not scored again.
    """
    scores = (
        json.loads(args.scores.read_text()) if args.scores.exists() else {}
    )
    rows = scores.setdefault(args.way, [])
    row = next((row for row in rows if row['seed'] == args.seed), None)
    if row is None:
        row = {'seed': args.seed, 'scores': {}}
        rows.append(row)
    paths = [
        net['path']
        for net in digits_nets.read(args.nets)['nets']
        if net['path'] not in row['scores']
    ]
    if not paths:
        raise InputError(
            f'{args.scores} has the scores of {args.way!r} with seed '
            f'{args.seed} already; give another --seed'
        )
    if args.way in PROXIES:
        values = score_by_proxy(paths, args)
    else:
        values = score_by_supernet(paths, len(row['scores']), args)
    row['scores'] |= zip(paths, values, strict=True)
    write_atomically(args.scores, json.dumps(scores, indent=1) + '\n')


def score_by_supernet(
    paths: Sequence[str], done: int, args: argparse.Namespace
) -> list[float]:
    """Train a supernet, unless one is there, and return its scores.

    Args:
        paths: Digits of the networks.
        done: How many others have scores.
        args: Options of the command line.
    """
    if not args.checkpoint and args.seed in digits_nets.RECIPE['seeds']:
        raise InputError(
            'the ground truth was trained from supernets with the seeds '
            f'{digits_nets.RECIPE["seeds"]}; give another --seed'
        )
    way = WAYS[args.way]
    trained = WAYS[way.supernet or args.way]
    folder = supernet_folder(args.out, args.way, args.seed)
    entangled = f'model.backbone.entangled={trained.entangled}'
    supernet = args.checkpoint or train_supernet(
        folder,
        args.seed,
        args.data,
        [*trained.training, entangled],
        trained.stage_1,
        trained.epochs,
    )
    candidates = run_search(
        SEARCH, supernet, folder / f'scores_{args.way}_from{done}',
        [
            '--paths', *paths, '--cfg-options', entangled, *way.scoring,
            *data_options(args.data),
        ],
        args.processes,
    )  # fmt: skip
    fitness = {c.path: c.fitness for c in candidates}
    return [fitness[path] for path in paths]


def supernet_folder(out: Path, way: str, seed: int) -> Path:
    """Return the folder of the supernet that a way of scoring uses."""
    name = WAYS[way].supernet or way
    return out / f'{name}_seed{seed}'


def trained_supernet(folder: Path) -> str:
    """Return the checkpoint of a supernet that was trained in a folder."""
    supernet = last_checkpoint(folder / 'stage2')
    if supernet is None:
        raise InputError(
            f'no supernet in {folder / "stage2"}; run `rank_study.py score` '
            'first'
        )
    return supernet


def score_by_proxy(
    paths: Sequence[str], args: argparse.Namespace
) -> list[float]:
    """Return the scores of networks with random weights."""
    space = digits_nets.RECIPE['space']
    files = sorted((args.data / 'train').glob('*.jpg'))[:PROXY_IMAGES]
    images = np.stack([cv2.imread(str(file)) for file in files])
    images = torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5
    values = []
    for path in paths:
        torch.manual_seed(args.seed)
        net = DetNASNet(search_space=space, path=path)
        if args.way == 'nwot':
            values.append(nwot(net, images))
        else:
            values.append(synflow(net, images.shape[2:]))
    return values


@dataclass(frozen=True)
class Ranking:
    """Agreement of scores with results, over networks.

    Attributes:
        tau: Kendall's tau, with a bootstrap interval over the networks.
        regret: Best result minus the result of the best by score.
        percentile: Share of the networks, in percent, that are not better
            than the best by score.
    """

    tau: Estimate
    regret: float
    percentile: float

    @classmethod
    def of(cls, scores: np.ndarray, results: np.ndarray) -> 'Ranking':
        """Compare scores and results of the same networks."""
        tau = Bootstrap().estimate(
            lambda indices: kendall(scores[indices], results[indices]),
            len(scores),
        )
        chosen = results[np.argmax(scores)]
        regret = float(results.max() - chosen)
        return cls(tau, regret, percentile(results, chosen))


def ceiling(variance: Variance, trainings: int) -> float:
    """Return the tau that perfect scores reach, given the noise of results.

    It is Kendall's tau of two normal variables whose squared correlation is
    the share of the architecture.
    """
    return 2 / np.pi * np.arcsin(variance.share(trainings) ** 0.5)


def report(nets: Sequence[Mapping], scores: Mapping[str, Sequence]) -> None:
    """Print how each way ranks the networks of each group."""
    groups: dict[str, Callable[[Mapping], bool]] = {
        'of equal cost': lambda net: net['group'] == 'band',
        'of equal cost, uneven': lambda net: (
            net['group'] == 'band' and net['uneven']
        ),
        'of free cost': lambda net: net['group'] == 'free',
    }
    for name, belongs in groups.items():
        members = [n for n in nets if belongs(n) and n['results']]
        if len(members) < 3:
            continue
        Console(width=150).print(_table(name, members, scores))


def _table(
    name: str, nets: Sequence[Mapping], scores: Mapping[str, Sequence]
) -> Table:
    trainings = min(len(net['results']) for net in nets)
    results = np.array([net['results'][:trainings] for net in nets])
    title = f'{len(nets)} networks {name}, {trainings} trainings each'
    if trainings > 1:
        limit = ceiling(Variance.of(results), trainings)
        title += f'; tau of perfect scores: {limit:.2f}'
    table = Table(title=title)
    table.add_column('ranked by')
    for column in (
        'tau of each', 'mean', 'together', '95 %', 'regret', 'percentile',
        'percentile of each', 'mean score',
    ):  # fmt: skip
        table.add_column(column, justify='right')
    means = results.mean(axis=1)
    for way, rows in scores.items():
        values = np.array(
            [[row['scores'][net['path']] for net in nets] for row in rows]
        )
        taus = [kendall(column, means) for column in values]
        chosen = means[values.argmax(axis=1)]
        table.add_row(
            way,
            _join('{:.2f}', taus),
            f'{np.mean(taus):.2f}',
            *_cells(values.mean(axis=0), means),
            _join('{:.0f}', [percentile(means, result) for result in chosen]),
            _join('{:.3f}', values.mean(axis=1)),
        )
    for name, value in {
        'MACs': lambda net: net['macs'],
        'fewest parameters': lambda net: -net['params'],
        'a rule found here': _by_rule,
    }.items():
        values = np.array([value(net) for net in nets], float)
        table.add_row(name, '', '', *_cells(values, means))
    return table


def _by_rule(net: Mapping) -> int:
    """Rank by what the results of this very table show.

    Good networks have few skips in the first stage, and few wide blocks in
    the last two.
    """
    space = get_search_space(digits_nets.RECIPE['space'])
    first, _, *last = space.format_stages(space.parse(net['path'])).split()
    return -first.count('3') - ''.join(last).count('2')


def _join(form: str, values: Iterable[float]) -> str:
    return ', '.join(map(form.format, values))


def _cells(scores: np.ndarray, results: np.ndarray) -> list[str]:
    ranking = Ranking.of(scores, results)
    tau = ranking.tau
    return [
        f'{tau.value:.2f}',
        f'{tau.low:.2f} to {tau.high:.2f}',
        f'{ranking.regret:.3f}',
        f'{ranking.percentile:.0f}',
    ]


def draw(nets: Sequence[Mapping], rows: Sequence[Mapping], file: Path) -> None:
    """Draw the score of each network, the mean of supernets, and its result.

    Networks that joined the table, such as found ones, have larger markers.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout='constrained')
    millions, tolerance = digits_nets.TARGET_MACS / 1e6, digits_nets.TOLERANCE
    labels = {
        'band': f'random, {millions:.0f}M ± {tolerance:.0%} MACs',
        'free': 'random, any cost',
    }
    for group, marker in zip(
        dict.fromkeys(net['group'] for net in nets), 'os*DXP', strict=False
    ):
        members = [net for net in nets if net['group'] == group]
        axes.scatter(
            [
                np.mean([row['scores'][net['path']] for row in rows])
                for net in members
            ],
            [np.mean(net['test_map']) for net in members],
            s=24 if group in labels else 120,
            marker=marker,
            alpha=0.7,
            label=labels.get(group, group),
        )
    band = [np.mean(n['test_map']) for n in nets if n['group'] == 'band']
    axes.axhline(
        np.median(band), color='gray', ls='--', label='median of equal cost'
    )
    axes.set_xlabel('mean score by the supernets (mAP, search split)')
    axes.set_ylabel('mAP after training (test split)')
    figure.legend(loc='outside upper center', ncols=3)
    with plt.rc_context({'svg.hashsalt': 'nets'}):  # the same file again
        figure.savefig(file, metadata={'Date': None})


def main() -> None:
    args = parse_args()
    if args.command == 'score':
        score(args)
        return
    if args.command == 'draw':
        rows = read_scores(args.scores, args.way)
        trained = [
            net
            for net in digits_nets.read(args.nets)['nets']
            if net['test_map']
        ]
        scored = set.intersection(*(set(row['scores']) for row in rows))
        nets = [net for net in trained if net['path'] in scored]
        if len(nets) < len(trained):
            print(
                f'{len(trained) - len(nets)} trained networks are left out: '
                f'run `score {args.way}` for each seed again'
            )
        draw(nets, rows, args.picture)
        return
    nets = [
        {**net, 'results': net[f'{args.split}_map']}
        for net in read_nets(args.nets)
    ]
    if not args.scores.exists():
        raise InputError(
            f'there is no {args.scores}; add scores by `score WAY --seed N`'
        )
    report(nets, json.loads(args.scores.read_text()))


if __name__ == '__main__':
    run_command(main)
