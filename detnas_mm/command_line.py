"""What the command lines in ``tools/`` have in common."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config, DictAction

from detnas_mm.compat import LAUNCHERS
from detnas_mm.error_lines import error_line


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that mmdet's ``tools/train.py`` has, too."""
    parser.add_argument('--work-dir', help='directory for logs and results')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='override settings of the config: key=value pairs such as '
        'train_dataloader.batch_size=8; lists as key="[a,b]" or key=a,b',
    )
    parser.add_argument(
        '--launcher',
        choices=LAUNCHERS,
        default='none',
        help='job launcher',
    )
    # Older launchers pass the rank as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Loads the config that the common arguments describe.

    The work dir is taken from the command line, else from the config, else
    it is ``work_dirs/<name of the config>``.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise FileNotFoundError(
            f'no config at {args.config}; see the folder configs/'
        )
    config = Config.fromfile(args.config)
    config.launcher = args.launcher
    if args.cfg_options is not None:
        config.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return config


def run_command(main: Callable[[], None]) -> None:
    """Runs a command; says in one line what is wrong with its input.

    Any error that is not known to come from its input keeps its traceback.
    """
    try:
        main()
    except Exception as error:
        line = error_line(error)
        if line is None:
            raise
        print(f'error: {line}', file=sys.stderr)
        sys.exit(2)
