"""Tests the found network of a project beside an even and a random one.

All three come from tools/finalists.py: trained alike, from the weights of the
supernet. The table has their mAP on the search and the test split; the
verdict says whether a difference on the test images is more than chance.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from finalists import FOLDER, NETS
from hotcoco import COCOeval
from project.paired import Difference, difference, evaluate
from project.verdict_page import precision, verdict_page
from rich.console import Console
from rich.table import Table

from detnas_mm.compat import setup_compat
from detnas_mm.models import last_checkpoint
from detnas_mm.structures import Candidate, SearchRecord, SearchSpace, Status
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

TOOLS = Path(__file__).resolve().parent
TRUTH = 'annotations/test.json'
EXPLANATION = (
    'search, test and classes: mAP, mean over trainings. MACs and params are '
    'of the backbone. [ ]: 95 % interval, of a paired bootstrap over the test '
    'images.'
)


@dataclass(frozen=True)
class Net:
    """A trained network.

    Attributes:
        name: ``'found'``, ``'even'`` or ``'random'``.
        candidate: Its line in the record of the finalists.
        checkpoints: The checkpoint of each training.
    """

    name: str
    candidate: Candidate
    checkpoints: tuple[str, ...]


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'project', type=Path, help='folder that tools/new_search.py wrote'
    )
    return parser.parse_args()


def read_nets(folder: Path) -> list[Net]:
    """Returns the best of the search, the even network and the random one.

    Raises:
        InputError: If the finalists were not trained.
    """
    file = folder / NETS
    if not file.is_file():
        raise InputError(f'no {file}; run tools/finalists.py first')
    roles = json.loads(file.read_text())
    record = SearchRecord.read(folder)
    done = [c for c in record.candidates if c.status is Status.COMPLETE]
    # Those of another checkpoint or schedule have a folder of their own.
    trained = max(folder.glob('trainings/*'), key=os.path.getmtime)
    nets = {}
    for candidate in sorted(done, key=lambda c: (-c.fitness, c.index)):
        role = roles.get(candidate.path, '').partition(',')[0]
        name = 'found' if role == 'search' else role
        found = sorted(trained.glob(f'{candidate.path}_seed*'))
        checkpoints = tuple(map(str, map(last_checkpoint, found)))
        nets.setdefault(name, Net(name, candidate, checkpoints))
    if 'found' not in nets:
        raise InputError(f'no candidate of the search was trained in {folder}')
    return [nets[name] for name in ('found', 'even', 'random') if name in nets]


def test(net: Net, project: Path) -> list[list[Mapping]]:
    """Returns the predictions of each training of a network."""
    predictions = []
    for seed, checkpoint in enumerate(net.checkpoints):
        # Another search may have found another network.
        name = f'{net.candidate.path}_seed{seed}'
        out = project / f'work/test/{name}.pkl'
        command = [
            str(TOOLS / 'test.py'),
            'detector.py',
            os.path.relpath(checkpoint, project),
            '--out',
            str(out.relative_to(project)),
            '--work-dir',
            f'work/test/{name}',
            '--cfg-options',
            f'model.backbone.path={net.candidate.path}',
        ]
        trained = os.path.getmtime(checkpoint)
        if not out.is_file() or out.stat().st_mtime < trained:
            print('$ python', *command, flush=True)
            log = project / 'work/test.log'
            with open(log, 'a') as file:
                done = subprocess.run(
                    [sys.executable, *command],
                    cwd=project,
                    stdout=file,
                    stderr=file,
                )
            if done.returncode:
                raise InputError(f'a test failed, see {log}')
        predictions.append(pickle.loads(out.read_bytes()))
    return predictions


def sentence(name: str, result: Difference) -> str:
    """Returns a difference as a sentence."""
    low, high = result.over_images
    text = f'found - {name}: {result.mean:+.3f} [{low:+.3f}, {high:+.3f}]'
    if result.over_trainings is not None:
        low, high = result.over_trainings
        text += f' over images, [{low:+.3f}, {high:+.3f}] over trainings'
    if not result.is_shown:
        return f'{text}: no difference shown'
    word = 'better' if result.mean > 0 else 'worse'
    return f'{text}: the found network is {word}'


def describe(net: Net, tested: Sequence[COCOeval]) -> dict:
    """Returns the numbers of a network, as means over its trainings."""
    runs = [evaluation.get_results(per_class=True) for evaluation in tested]
    means = {key: float(np.mean([r[key] for r in runs])) for key in runs[0]}
    return {
        'net': net.name,
        'path': net.candidate.path,
        'macs': net.candidate.macs,
        'params': net.candidate.params,
        'search': net.candidate.fitness,
        'test': means['AP'],
        'per_class': {
            key.removeprefix('AP/'): value
            for key, value in means.items()
            if key.startswith('AP/')
        },
        'seeds': [run['AP'] for run in runs],
    }


def as_text(rows: Sequence[Mapping], space: SearchSpace) -> str:
    """Returns the numbers of the networks as a table."""
    table = Table(title='Trained alike from the weights of the supernet')
    table.add_column('')
    classes = list(rows[0]['per_class'])
    columns = ('path', 'MACs (M)', 'params (M)', 'search', 'test', *classes)
    for column in columns:
        table.add_column(column, justify='right')
    for row in rows:
        table.add_row(
            row['net'],
            space.format_stages(space.parse(row['path'])),
            f'{row["macs"] / 1e6:.1f}',
            f'{row["params"] / 1e6:.3f}',
            f'{row["search"]:.4f}',
            f'{row["test"]:.4f}',
            *map(precision, row['per_class'].values()),
        )
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def write_result(
    project: Path, nets: Sequence[Net], space: SearchSpace
) -> None:
    """Tests the networks, and writes table, verdict and page."""
    predictions = {net.name: test(net, project) for net in nets}
    tested = {
        name: [evaluate(project / TRUTH, single) for single in found]
        for name, found in predictions.items()
    }
    rows = [describe(net, tested[net.name]) for net in nets]
    differences = {
        net.name: difference(tested['found'], tested[net.name])
        for net in nets[1:]
    }
    lines = [sentence(name, result) for name, result in differences.items()]
    best = max(rows, key=lambda row: row['search'])
    if best is not rows[0]:
        lines.append(
            f'on the search split the {best["net"]} network is the best, '
            'which finalists/best.json names'
        )
    work = project / 'work'
    content = {
        'sentences': lines,
        'nets': rows,
        'differences': {n: asdict(d) for n, d in differences.items()},
    }
    write_atomically(
        work / 'verdict.json', json.dumps(content, indent=1) + '\n'
    )
    checkpoint = os.path.relpath(nets[0].checkpoints[0], project)
    found = predictions['found'][0]
    html = verdict_page(
        project, rows, [*lines, EXPLANATION], found, checkpoint
    )
    write_atomically(work / 'verdict.html', html)
    text = '\n'.join([as_text(rows, space), *lines, EXPLANATION]) + '\n'
    write_atomically(work / 'verdict.txt', text)


def main() -> None:
    """Runs the command."""
    args = parse_args()
    setup_compat()
    folder = args.project / 'work/search' / FOLDER
    nets = read_nets(folder)
    record = SearchRecord.read(folder)
    (args.project / 'work/test').mkdir(parents=True, exist_ok=True)
    write_result(args.project, nets, SearchSpace(**record.header.search_space))
    for name in ('verdict.txt', 'verdict.html'):
        print(f'{args.project / "work" / name}')


if __name__ == '__main__':
    run_command(main)
