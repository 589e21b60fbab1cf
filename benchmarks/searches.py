"""Run the tools on the digits, and read what a search has recorded."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from detnas_mm.models import last_checkpoint
from detnas_mm.structures import Candidate, SearchRecord

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / 'data/digits'
CONFIGS = ROOT / 'configs/digits'
STAGE_1 = CONFIGS / 'detnas-supernet-elastic-tiny_digits-cls.py'
STAGE_2 = CONFIGS / 'retinanet_detnas-supernet-elastic-tiny_fpn_digits.py'
SEARCH = CONFIGS / 'retinanet_detnas-search-elastic-tiny_fpn_digits.py'


# Of paths that are drawn unevenly, as in the config of the search.
CONCENTRATION = 0.4
# Settings of a supernet that is trained on such paths.
UNEVEN = (f'custom_hooks.0.concentration={CONCENTRATION}',)


def add_processes_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the processes of a search."""
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        help='processes that share the networks',
    )


def add_run_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the options for data, work dirs and processes of a benchmark."""
    parser.add_argument('--data', type=Path, default=DATA)
    parser.add_argument(
        '--out',
        type=Path,
        default=ROOT / 'work_dirs' / name,
        help='folder for supernets and what is run in them',
    )
    add_processes_option(parser)


def run_tool(name: str, *arguments: object, processes: int = 1) -> None:
    """Run a command of `tools/`, in one process or in several."""
    command = [sys.executable, ROOT / 'tools' / name, *arguments]
    if processes > 1:
        launcher = [
            '-m', 'torch.distributed.run', '--standalone',
            f'--nproc_per_node={processes}',
        ]  # fmt: skip
        command[1:1] = launcher
        command += ['--launcher', 'pytorch']
    subprocess.run([*map(str, command)], check=True)


def run_search(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    work_dir: Path,
    options: Sequence[object],
    processes: int = 1,
) -> list[Candidate]:
    """Run a search, or resume it, and return its candidates.

    Args:
        config: Config of the search.
        checkpoint: Checkpoint of the supernet.
        work_dir: Work dir of the search. A complete search in it is not
            repeated.
        options: Further options of `tools/search.py`.
        processes: How many processes share the candidates.
    """
    run_tool(
        'search.py', config, checkpoint, '--work-dir', work_dir, '--resume',
        *options, processes=processes,
    )  # fmt: skip
    return list(SearchRecord.read(work_dir).candidates)


def train_supernet(
    folder: Path,
    seed: int,
    data: Path,
    options: Sequence[str] = (),
    stage_1_options: Sequence[str] = (),
    epochs: Sequence[int] | None = None,
) -> Path:
    """Train a supernet of the elastic space in both stages, or resume it.

    Args:
        folder: Folder for both work dirs.
        seed: Seed of both stages.
        data: Folder of the digits.
        options: Settings of both configs.
        stage_1_options: Further settings of the config of stage 1.
        epochs: Epochs of both stages; by default those of the configs.

    Returns:
        The checkpoint.
    """
    common = [f'randomness.seed={seed}', *options]
    lengths: tuple[Sequence[str], Sequence[str]] = (), ()
    if epochs is not None:
        lengths = _epochs(epochs[0]), _epochs(epochs[1])
    stage_1 = _train(
        STAGE_1,
        folder / 'stage1',
        [*common, *stage_1_options, *lengths[0]],
        data,
        stage=1,
    )
    start = f'model.backbone.init_cfg.checkpoint={stage_1}'
    return _train(
        STAGE_2,
        folder / 'stage2',
        [*common, start, *lengths[1]],
        data,
        stage=2,
    )


def _epochs(epochs: int) -> list[str]:
    """Return the settings of a training of other length."""
    return [
        f'train_cfg.max_epochs={epochs}',
        f'train_cfg.val_interval={epochs}',
    ]


def _train(
    config: Path,
    work_dir: Path,
    options: Sequence[str],
    data: Path,
    stage: int,
) -> Path:
    done = work_dir / 'done'
    if not done.exists():
        run_tool(
            'train.py', config, '--work-dir', work_dir, '--resume',
            '--cfg-options', *options, *data_options(data, stage),
        )  # fmt: skip
        done.touch()
    return last_checkpoint(work_dir)


def data_options(data: Path, stage: int = 2) -> list[str]:
    """Return the settings of a config on digits in another folder."""
    root = data / 'classification' if stage == 1 else data
    options = [
        f'{split}_dataloader.dataset.data_root={root}'
        for split in ('train', 'val', 'test')
    ]
    if stage == 2:
        options += [
            f'{loop}_evaluator.ann_file={data}/annotations/instances_{split}.json'
            for loop, split in (('val', 'search'), ('test', 'test'))
        ]
    return options
