"""Arguments, config and errors of the command lines in ``tools/``."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config, DictAction
from mmengine.utils import import_modules_from_strings

from detnas_mm.utils.errors import InputError

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
# A full disk, a used-up quota, a disk that has become read-only.
_UNWRITABLE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class OptionsAction(DictAction):
    """Read ``key=value`` pairs as mmdet's tools do, but paths as text.

    A path such as ``0012`` is not a number: its leading zeros count.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        for pair in values:
            if '=' not in pair:
                parser.error(f'{option_string} takes key=value, got {pair!r}')
        super().__call__(parser, namespace, values, option_string)
        options = getattr(namespace, self.dest)
        for pair in values:
            key, _, text = pair.partition('=')
            digits = text.strip('\'"')
            if key.endswith('.path') and digits.isdigit():
                options[key] = digits


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that mmdet's ``tools/train.py`` has as well."""
    parser.add_argument('--work-dir', help='directory for logs and results')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
        help='override settings of the config: key=value pairs such as '
        'train_dataloader.batch_size=8; lists as key="[a,b]" or key=a,b',
    )
    parser.add_argument(
        '--launcher', choices=LAUNCHERS, default='none', help='job launcher'
    )
    # Older launchers pass the rank as an argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Load the config that the common arguments describe.

    The work dir is taken from the command line, else from the config, else
    it is ``work_dirs/<name of the config>``.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise InputError(
            f'no config file at {args.config}; the folder configs/ has the '
            'configs of this project'
        )
    config = Config.fromfile(args.config)
    config.launcher = args.launcher
    if args.cfg_options is not None:
        config.merge_from_dict(args.cfg_options)
        # Config.fromfile() has imported only the modules that the file names.
        if config.get('custom_imports'):
            import_modules_from_strings(**config.custom_imports)
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return config


def is_search(loop: Mapping | None) -> bool:
    """Return True if the config of a loop describes a search."""
    kind = (loop or {}).get('type', '')
    name = getattr(kind, '__name__', str(kind))
    return name.rpartition('.')[2] == 'EvolutionSearchLoop'


def refuse_search_config(config: Config) -> None:
    """Check that a config does not describe a search."""
    for name in ('val_cfg', 'test_cfg'):
        if is_search(config.get(name)):
            raise InputError(
                f'`{name}` of the config is a search: run it by '
                'tools/search.py CONFIG CHECKPOINT'
            )


def run_command(main: Callable[[], None]) -> None:
    """Run a command and print what is wrong with its input in one line.

    An :class:`InputError` and an unwritable disk end the process with exit
    code 2, Ctrl-C with 130. Every other exception keeps its traceback.
    """
    try:
        main()
    except InputError as error:
        _exit(f'error: {error}', 2)
    except OSError as error:
        if error.errno not in _UNWRITABLE_DISK:
            raise
        file = f'{error.filename}: ' if error.filename else ''
        _exit(f'error: {file}{error.strerror}', 2)
    except KeyboardInterrupt:
        _exit('interrupted', 130)


def _exit(line: str, code: int) -> NoReturn:
    print(line, file=sys.stderr)
    sys.exit(code)
