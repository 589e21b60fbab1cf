"""What the command lines in ``tools/`` have in common."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.utils import import_modules_from_strings

from detnas_mm.compat import LAUNCHERS
from detnas_mm.utils.error_lines import error_line, suggestion
from detnas_mm.utils.errors import InputError

# What is read at the top of a config beside the arguments of the Runner.
_OTHER_SETTINGS = {
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    # Of MMEngine's FlexibleRunner.
    'strategy',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
}


class OptionsAction(DictAction):
    """Reads ``key=value`` pairs as mmdet's tools do, but paths as text.

    A path of digits is no number: its leading zeros count, and so does their
    number.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        """Takes the pairs that follow the option."""
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
    """Adds the arguments that mmdet's ``tools/train.py`` has, too."""
    parser.add_argument('--work-dir', help='directory for logs and results')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=OptionsAction,
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
        InputError: If there is no such config.
        InputError: If an option would have no effect.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not Path(args.config).is_file():
        raise InputError(
            f'no config at {args.config}; see the folder configs/'
        )
    config = Config.fromfile(args.config)
    config.launcher = args.launcher
    if args.cfg_options is not None:
        _require_effect(config, args.cfg_options)
        config.merge_from_dict(args.cfg_options)
        # Else only those of the file are imported.
        if config.get('custom_imports'):
            import_modules_from_strings(**config.custom_imports)
    if args.work_dir is not None:
        config.work_dir = args.work_dir
    elif config.get('work_dir') is None:
        config.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    return config


def is_search(loop: Mapping | None) -> bool:
    """Whether the config of a loop is that of the search."""
    kind = (loop or {}).get('type', '')
    name = getattr(kind, '__name__', str(kind))
    return name.rpartition('.')[2] == 'EvolutionSearchLoop'


def refuse_search_config(config: Config) -> None:
    """Makes sure that a config is not that of a search.

    Raises:
        InputError: If it is.
    """
    for name in ('val_cfg', 'test_cfg'):
        if is_search(config.get(name)):
            raise InputError(
                f'`{name}` of the config is a search: run it by '
                'tools/search.py CONFIG CHECKPOINT'
            )


def _require_effect(config: Config, options: Mapping) -> None:
    """Refuses to set what nothing reads.

    That are names that are no setting, and variables of the config file,
    whose value was copied to where it is used.

    Raises:
        InputError: If an option is one; it names what to set instead.
    """
    # Light commands have no options, and need no Runner.
    from mmengine.runner import Runner

    settings = {*inspect.signature(Runner).parameters, *_OTHER_SETTINGS}
    for option in options:
        name = option.partition('.')[0]
        if name in settings:
            continue
        if name not in config:
            inside = list(_keys_named(config.to_dict(), name))
            hint = ' or '.join(inside[:4])
            hint = (
                f'did you mean {hint}?'
                if inside
                else suggestion(
                    name, sorted(settings), 'see the config for what there is'
                )
            )
            raise InputError(
                f'`--cfg-options {option}` has no effect: nothing reads '
                f'{name}; {hint}'
            )
        value = config[name]
        users = [
            key
            for top in settings & set(config)
            for key in _keys_with(config[top], value, top)
        ]
        instead = ', '.join(sorted(users)[:4]) or 'the settings it is used in'
        raise InputError(
            f'`--cfg-options {option}` has no effect: {name} is a variable of '
            f'the config file, whose value is copied; set {instead}'
        )


def _keys_with(node: object, value: object, key: str) -> Iterator[str]:
    """Yields the keys below a node that have a value, or begin with it."""
    begins = isinstance(node, str) and isinstance(value, str)
    if node == value or (begins and node.startswith(value)):
        yield key
    for name, child in _children(node):
        yield from _keys_with(child, value, f'{key}.{name}')


def _keys_named(node: object, name: str, key: str = '') -> Iterator[str]:
    """Yields the keys below a node that end with a name."""
    for part, child in _children(node):
        below = f'{key}.{part}' if key else str(part)
        if part == name:
            yield below
        yield from _keys_named(child, name, below)


def _children(node: object) -> Iterable[tuple[object, object]]:
    if isinstance(node, Mapping):
        return node.items()
    return enumerate(node) if isinstance(node, list | tuple) else ()


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
