"""One line for what is wrong with a user's input, and how to mend it."""

import difflib
import errno
import inspect
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

from detnas_mm.engine.missing_data import missing_file

# Where MMEngine builds what a config describes.
_BUILDER = 'mmengine.registry.build_functions'
_CONFIG = 'mmengine.config.config'
# What imports the modules of ``custom_imports``.
_IMPORTERS = (_CONFIG, 'mmengine.utils.misc')
# What reads data, and whose classes take what their signatures say.
_LIBRARIES = (
    'detnas_mm',
    'mmcv',
    'mmdet',
    'mmengine',
    'mmpretrain',
    'pycocotools',
    'torch',
)
# What reads a config; its own code has no name.
_READERS = ('', 'ast', 'codecs', 'json', 'mmengine')
_REFUSALS = (AssertionError, KeyError, OSError, TypeError, ValueError)
_RUNNER = 'mmengine.runner.runner'
_NO_SETTINGS = {'self', 'args', 'kwargs'}
_UNKNOWN_SETTING = re.compile(r"unexpected keyword argument '(\w+)'")
# A full disk, a used-up quota, a disk that has become read-only.
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def error_line(error: BaseException) -> str | None:
    """Returns what to tell the user, or ``None`` for an unexpected error.

    Errors that detnas_mm raises about its input speak for themselves. Of
    others, those are known that users meet first: a file of the data set
    that is not there, a disk that cannot be written, and a name or setting of
    a config that does not exist.

    Args:
        error: The error that ended a command.
    """
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return _unwritable(error)
    source = _raised_in(error)
    if source.partition('.')[0] in ('detnas_mm', '__main__'):
        expected = (ValueError, OSError, RuntimeError)
        return str(error) if isinstance(error, expected) else None
    if _is_of_config(error):
        return _wrong_config(error)
    if isinstance(error, FileNotFoundError) and error.filename:
        # A file that the user's own code opens is the user's own.
        is_data = source.partition('.')[0] in _LIBRARIES
        return missing_file(str(error.filename)) if is_data else None
    if source == _BUILDER and isinstance(error, KeyError):
        message = str(error.args[0])
        registry = re.search(r'(\S+) registry', message)
        return unknown_name(message.split()[0], registry[1])
    if isinstance(error, ImportError):
        return _missing_module(error) if source in _IMPORTERS else None
    if isinstance(error, TypeError):
        return _wrong_setting(error, source) or _refused_settings(error)
    return _refused_settings(error)


def _raised_in(error: BaseException) -> str:
    """Returns the name of the module that raised an error."""
    return _frames(error)[-1].f_globals.get('__name__', '')


def _frames(error: BaseException) -> list[FrameType]:
    """Returns the calls that led to an error, the last of them last."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _text(error: BaseException) -> str:
    """Returns the message of an error in one line."""
    message = error.args[0] if isinstance(error, KeyError) else error
    return ' '.join(str(message).split())


def _is_of_config(error: BaseException) -> bool:
    """Whether a config cannot be read, or MMEngine refuses to merge options.

    Not where a module that the config imports fails.
    """
    frames = _frames(error)
    modules = [frame.f_globals.get('__name__', '') for frame in frames]
    if isinstance(error, ImportError) or _CONFIG not in modules:
        return False
    last = modules[-1].partition('.')[0]
    if 'fromfile' in [frame.f_code.co_name for frame in frames]:
        return last in _READERS
    return last == 'mmengine' and isinstance(error, _REFUSALS)


def _wrong_config(error: BaseException) -> str | None:
    """Says what is wrong with a config, or with what it inherits from."""
    if isinstance(error, FileNotFoundError):
        quoted = re.search('"(.+?)"', _text(error))
        file = error.filename or (quoted[1] if quoted else _text(error))
        return (
            f'no such config: {file}; paths in `_base_` begin at the folder '
            'of the config that they stand in, names such as '
            'mmdet::fcos/fcos_r50_fpn_1x_coco.py are those of a package'
        )
    if isinstance(error, SyntaxError):
        line = (error.text or '').strip()
        return (
            f'a config is no Python: {error.msg}, line {error.lineno}: {line}'
        )
    return f'{_text(error).rstrip(".")}; check the config and --cfg-options'


def _refused_settings(error: BaseException) -> str | None:
    """Says what a class of the config has against its settings.

    It has, if its constructor raised the error itself, and no part of it.
    """
    frames = _frames(error)
    if len(frames) < 2 or frames[-1].f_code.co_name != '__init__':
        return None
    built, _ = _built_in(frames[-2])
    if built is None or not isinstance(error, _REFUSALS) or not _text(error):
        return None
    return f'{built.__name__}: {_text(error)}; check it in the config'


def _wrong_setting(error: TypeError, source: str) -> str | None:
    """Says which setting of the config is unknown, if that is the error.

    A class may hand on what it does not know itself, so that another one
    stumbles over it.
    """
    unknown = _UNKNOWN_SETTING.search(str(error))
    frames = _frames(error)
    for frame in reversed(frames):
        built, settings = _built_in(frame)
        if unknown and unknown[1] in settings:
            return unknown_setting(built, unknown[1])
    if source == _BUILDER or (unknown and source.startswith('mmengine.')):
        return f'{error}; check the setting of that name in the config'
    return None


def _missing_module(error: ImportError) -> str | None:
    """Says which module of ``custom_imports`` is not found, if that is it."""
    first = error
    while first.__context__ is not None:
        first = first.__context__
    if not isinstance(first, ModuleNotFoundError):
        return None
    return (
        f'no module {first.name!r}, which `custom_imports` of the config '
        'imports; put the folder that it is in into PYTHONPATH, or install it'
    )


def _built_in(frame: FrameType) -> tuple[Callable | None, Mapping]:
    """Returns what a function of MMEngine builds, and from what settings."""
    module, local = frame.f_globals.get('__name__'), frame.f_locals
    if module == _BUILDER and 'obj_cls' in local:
        return local['obj_cls'], local.get('args') or {}
    if module == _RUNNER and 'dataloader_cfg' in local:
        return frame.f_globals['DataLoader'], local['dataloader_cfg']
    return None, {}


def _unwritable(error: OSError) -> str:
    if '--resume' in error.strerror:
        return str(error)
    file = f'{error.filename}: ' if error.filename else ''
    return (
        f'{file}{error.strerror}; what was written before is kept, mend it '
        'and go on with --resume'
    )


def unknown_name(name: str, registry: str) -> str:
    """Says that a name of a config is unknown, and which is close.

    Args:
        name: The name.
        registry: Of what, such as ``'hook'`` or ``'mmdet::hook'``.
    """
    parts = _parts_of(registry.rpartition('::')[2])
    scopes = [part.scope for part in parts if name in part.module_dict]
    hint = suggestion(
        name,
        [
            f'detnas_mm.{one}' if part.scope == 'detnas_mm' else one
            for part in parts
            for one in part.module_dict
        ],
        'is it spelled right, and is its module in `custom_imports`?',
        most=2,
        cutoff=0.65,
    )
    if scopes:
        hint = f'did you mean {scopes[0]}.{name}?'
    return f'{name!r} is not in the registry {registry}: {hint}'


def unknown_setting(built: Callable, name: str) -> str:
    """Says that a class of the config has no such setting.

    Args:
        built: The class, or a function that stands in its place.
        name: The setting.
    """
    known = sorted(accepted_settings(built)[0])
    hint = suggestion(name, known, f'it has {", ".join(known)}')
    return f'{built.__name__} has no setting {name!r}; {hint}'


def accepted_settings(built: Callable) -> tuple[set[str], bool]:
    """Returns the settings that a class of the config has.

    Args:
        built: The class, or a function that stands in its place.

    Returns:
        Their names, and whether it may take others, too.
    """
    classes = getattr(built, '__mro__', ())
    makers = [vars(one).get('__init__') for one in classes] or [built]
    names = set()
    for maker in filter(None, makers):
        parameters = inspect.signature(maker).parameters.values()
        names |= {one.name for one in parameters}
        takes_others = any(one.kind is one.VAR_KEYWORD for one in parameters)
        # A constructor hands on what it does not know to that of a base; that
        # of a user may do anything with it.
        library = getattr(maker, '__module__', '').partition('.')[0]
        if not takes_others or library not in _LIBRARIES:
            return names - _NO_SETTINGS, takes_others
    return names - _NO_SETTINGS, True


def _parts_of(registry: str) -> list[Any]:
    """Returns the registries of a name: the root's, and all libraries'."""
    # Seconds of start-up, for an error that only comes when it is loaded.
    from mmengine import registry as roots

    from detnas_mm.registry import CHOICE_BLOCKS

    return [
        part
        for one in (*vars(roots).values(), CHOICE_BLOCKS)
        if isinstance(one, roots.Registry) and one.name == registry
        for part in (one, *one.children.values())
    ]


def suggestion(
    name: str,
    known: Sequence[str],
    otherwise: str,
    most: int = 1,
    cutoff: float = 0.6,
) -> str:
    """Asks whether a name that is close was meant.

    Args:
        name: A name that is not known.
        known: Those that are.
        otherwise: What to say if none is close.
        most: Most of them that are named.
        cutoff: How close they must be, from 0 to 1.
    """
    close = difflib.get_close_matches(name, known, n=most, cutoff=cutoff)
    return f'did you mean {" or ".join(close)}?' if close else otherwise
