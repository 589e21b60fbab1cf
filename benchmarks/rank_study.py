"""Train random nets alone and compare the results with their scores.

The study uses the embedded digits and the supernet of tools/quickstart.sh,
which scores the nets with and without BN recalibration. Each net is
pre-trained, trained as a detector and tested as in the quickstart. A second
call continues where the first one stopped, also with more --nets.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.search import RandomSearch
from detnas_mm.structures import SearchSpace, get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / 'tools'
CONFIGS = ROOT / 'configs' / 'digits'
METRIC = 'coco/bbox_mAP'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default='work_dirs/rank_study')
    parser.add_argument(
        '--checkpoint',
        type=Path,
        help='checkpoint of the supernet; default: from the quickstart',
    )
    parser.add_argument('--nets', type=int, default=16, help='nets to train')
    parser.add_argument('--seed', type=int, default=0, help='of the nets')
    parser.add_argument(
        '--max-macs',
        type=float,
        default=42e6,
        help='multiply-adds of a net at 224x224',
    )
    parser.add_argument(
        '--jobs',
        type=int,
        default=2,
        help='nets trained at a time, one thread each',
    )
    parser.add_argument(
        '--bn-images',
        type=int,
        help='images for BN statistics; by default as in the config',
    )
    parser.add_argument('--detector', default='retinanet')
    parser.add_argument('--top-k', type=int, default=5)
    for stage in ('classifier', 'detector'):
        parser.add_argument(
            f'--{stage}-options',
            nargs='+',
            default=[],
            metavar='KEY=VALUE',
            help=f'settings of the configs of the {stage}',
        )
    return parser.parse_args()


@dataclass(frozen=True)
class Study:
    """The folder of a study and the way to run its steps.

    Attributes:
        out: Folder for all results.
        detector: First part of the names of the configs.
        classifier_options: Settings of the pre-training.
        detector_options: Settings of training, test and search.
        run: Runs a command and writes its output to a file.
        bn_images: Images for BN statistics; ``None``: as in the config.
    """

    out: Path
    detector: str
    classifier_options: Sequence[str]
    detector_options: Sequence[str]
    run: Callable[[Sequence[str], Path], None]
    bn_images: int | None = None

    def step(
        self, name: str, tool: str, *arguments: object, options: Sequence[str]
    ) -> Path:
        """Run a tool, unless it has run before, and return its work dir."""
        work_dir = self.out / name
        done = self.out / f'{name}.done'
        if not done.exists():
            command = [sys.executable, TOOLS / tool, *arguments]
            command += ['--work-dir', work_dir]
            if options:
                command += ['--cfg-options', *options]
            self.run([*map(str, command)], self.out / f'{name}.log')
            done.touch()
        return work_dir

    def train_net(self, path: str) -> Path:
        """Train and test a net; return the work dir of the test."""
        of_path = f"model.backbone.path='{path}'"
        classifier = CONFIGS / 'detnas-tiny_digits-cls.py'
        pretrained = self.step(
            f'pretrained_{path}', 'train.py', classifier, '--resume',
            options=[of_path, *self.classifier_options],
        )  # fmt: skip
        detector = CONFIGS / f'{self.detector}_detnas-tiny_fpn_digits.py'
        weights = latest_checkpoint(pretrained)
        trained = self.step(
            f'detector_{path}', 'train.py', detector, '--resume',
            options=[
                of_path, f'model.backbone.init_cfg.checkpoint={weights}',
                *self.detector_options,
            ],
        )  # fmt: skip
        return self.step(
            f'test_{path}', 'test.py', detector, latest_checkpoint(trained),
            options=[of_path, *self.detector_options],
        )  # fmt: skip

    @property
    def search_config(self) -> Path:
        """The config of the search, which scores nets."""
        return CONFIGS / f'{self.detector}_detnas-search-tiny_fpn_digits.py'

    def score_nets(
        self,
        name: str,
        checkpoint: Path,
        paths: Sequence[str],
        options: Sequence[str],
    ) -> Path:
        """Score all nets with the supernet and return the work dir."""
        return self.step(
            f'scores_{name}_{len(paths)}', 'search.py', self.search_config,
            checkpoint, '--resume', '--paths', *paths,
            options=[*options, *self.detector_options],
        )  # fmt: skip


def recalibration_setting(config: Path) -> str:
    """Return the config key for the number of images for BN statistics."""
    hooks = [hook['type'] for hook in Config.fromfile(config).custom_hooks]
    index = hooks.index('detnas_mm.BNRecalibrationHook')
    return f'custom_hooks.{index}.num_images'


def latest_checkpoint(work_dir: Path) -> Path:
    found = sorted(work_dir.glob('epoch_*.pth'), key=os.path.getmtime)
    if not found:
        raise InputError(f'no checkpoint epoch_*.pth in {work_dir}')
    return found[-1]


def run_logged(command: Sequence[str], log: Path) -> None:
    """Run a command with one thread and write its output to a file."""
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    with log.open('w') as output:
        status = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment
        ).returncode
    if status:
        lines = log.read_text().splitlines() or ['no output']
        raise RuntimeError(f'a step failed, see {log}: {lines[-1]}')


def draw_paths(
    space: SearchSpace, count: int, max_macs: float, seed: int
) -> list[str]:
    """Draw different paths under a bound.

    A larger ``count`` gives the same paths and more.
    """
    constraint = Constraint(space, Bounds(max_macs=max_macs))
    constraint.require_legal_paths(count)
    search = RandomSearch(
        space, population=count, is_legal=constraint.is_legal, seed=seed
    )
    return [space.format(path) for path in search.ask()]


def run_study(
    study: Study, checkpoint: Path, paths: Sequence[str], jobs: int
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Score and train all nets, ``jobs`` at a time.

    Returns:
        Work dirs of the scores by name, and work dirs of the tests by path.
    """

    def train(path: str) -> Path:
        folder = study.train_net(path)
        metrics = json.loads(sorted(folder.glob('*/*.json'))[-1].read_text())
        print(f'{path}: {metrics[METRIC]:.3f}', flush=True)
        return folder

    setting = recalibration_setting(study.search_config)
    images = study.bn_images
    kinds = {
        'recalibrated': [f'{setting}={images}'] if images else [],
        'running statistics': [f'{setting}=0'],
    }
    with ThreadPoolExecutor(jobs) as pool:
        scores = {
            name: pool.submit(
                study.score_nets, name.split()[0], checkpoint, paths, options
            )
            for name, options in kinds.items()
        }
        tests = {path: pool.submit(train, path) for path in paths}
        try:
            return (
                {name: future.result() for name, future in scores.items()},
                {path: future.result() for path, future in tests.items()},
            )
        finally:
            # After a failure do not start any other net.
            pool.shutdown(cancel_futures=True)


def print_ranks(
    out: Path, scores: dict[str, Path], tests: dict[str, Path], top_k: int
) -> None:
    command = [sys.executable, TOOLS / 'analysis_tools/rank_correlation.py']
    for name, folder in scores.items():
        command += ['--scores', name, folder]
    for path, folder in tests.items():
        command += ['--net', path, folder]
    command += ['--top-k', top_k, '--out', out / 'ranks.json']
    subprocess.run([*map(str, command)], check=True)
    print(f'numbers: {out / "ranks.json"}')


def main() -> None:
    args = parse_args()
    checkpoint = args.checkpoint
    if checkpoint is None:
        checkpoint = latest_checkpoint(Path('work_dirs/quickstart/supernet'))
    if not checkpoint.is_file():
        raise InputError(
            f'no checkpoint at {checkpoint}; run tools/quickstart.sh first'
        )
    if args.nets < 3 or not 1 <= args.top_k < args.nets:
        raise InputError(
            '--nets must be at least 3 and more than --top-k, got '
            f'{args.nets} and {args.top_k}'
        )
    args.out.mkdir(parents=True, exist_ok=True)
    space = get_search_space('tiny')
    paths = draw_paths(space, args.nets, args.max_macs, args.seed)
    study = Study(
        args.out,
        args.detector,
        args.classifier_options,
        args.detector_options,
        run_logged,
        args.bn_images,
    )
    scores, tests = run_study(study, checkpoint, paths, args.jobs)
    print_ranks(args.out, scores, tests, args.top_k)


if __name__ == '__main__':
    run_command(main)
