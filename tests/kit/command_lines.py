"""Runs the tools as a user does: processes with options."""

import io
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from unittest.mock import patch

from kit.digits_runs import CONFIGS, ROOT
from kit.search_process import free_port


def command(tool, *args, launcher=()):
    """The command line of a tool."""
    tool = tool if os.path.isabs(tool) else ROOT / 'tools' / tool
    return [sys.executable, *launcher, str(tool), *map(str, args)]


def torchrun():
    """Starts a tool as two processes."""
    return [
        '-m',
        'torch.distributed.run',
        '--nproc_per_node=2',
        f'--master_port={free_port()}',
    ]


def environment():
    """One thread for each process."""
    return os.environ | dict(OMP_NUM_THREADS='1')


def run(tool, *args, cwd, launcher=()):
    """Runs a tool to its end, which must be a success."""
    with subprocess.Popen(
        command(tool, *args, launcher=launcher),
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=250)
        except subprocess.TimeoutExpired:
            # Its processes hold the pipe as well: they all have to end.
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, output[-6000:]
    return output


def run_here(tool, *args):
    """Runs a tool in this process, without the start of another."""
    output, file = io.StringIO(), ROOT / 'tools' / tool
    with (
        patch.object(sys, 'argv', [tool, *map(str, args)]),
        # A script finds what lies beside it.
        patch.object(sys, 'path', [str(file.parent), *sys.path]),
        redirect_stdout(output),
    ):
        runpy.run_path(str(file), run_name='__main__')
    return output.getvalue()


def kill_when(process, condition, seconds=120):
    """Kills a process (SIGKILL) as soon as a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, 'it ended by itself'
        assert time.monotonic() < end, 'it never happened'
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def config_file(name):
    return CONFIGS / 'digits' / f'{name}.py'


def loading_options(digits, *splits, classification=False):
    """Options that load a few images in the main process."""
    folder = f'{digits}/classification/' if classification else f'{digits}/'
    options = []
    for split in splits:
        loader = f'{split}_dataloader'
        options += [
            f'{loader}.num_workers=0',
            f'{loader}.persistent_workers=False',
            f'{loader}.batch_size=4',
            f'{loader}.dataset.data_root={folder}',
        ]
        if split != 'train' and not classification:
            part = {'val': 'search', 'test': 'test'}[split]
            file = f'{folder}annotations/instances_{part}.json'
            options.append(f'{split}_evaluator.ann_file={file}')
    return options


# One epoch, without the warm-up before the cosine.
TRAINING = [
    'train_cfg.max_epochs=1',
    'train_cfg.val_interval=1',
    'param_scheduler.1.begin=0',
]
RECALIBRATION = ['custom_hooks.1.num_images=8']
# Without this a barely trained detector predicts nothing.
ALL_BOXES = ['model.test_cfg.score_thr=0.0']
# A search of 2 generations of 3 paths, as ``digits_runs.load_config`` has.
SMALL_SEARCH = [
    *RECALIBRATION,
    *ALL_BOXES,
    'val_cfg.generations=2',
    'val_cfg.algorithm.population=3',
    'val_cfg.algorithm.parents=2',
    'val_cfg.constraint.max_macs=41e6',
]
