"""Allow-list that lets ``torch.load(weights_only=True)`` resume a run.

MMEngine keeps its logs in every checkpoint as ``HistoryBuffer`` objects,
which hold numpy arrays. Torch's restricted unpickler refuses these unless
they are allow-listed. The list has exactly the classes that a run stores, so
that a checkpoint from an unknown source still cannot run code.
"""

import sys
from collections.abc import Callable
from pickle import UnpicklingError
from types import ModuleType

AllowedGlobal = tuple[Callable, str]

HISTORY_BUFFER_MODULE = 'mmengine.logging.history_buffer'
# numpy 1 and numpy 2 have different names for the module of their array
# builders, and a checkpoint may come from either.
_NUMPY_MODULES = ('numpy.core.multiarray', 'numpy._core.multiarray')
# Logged numbers are Python's int and float, which become 64-bit arrays (int32
# in numpy 1 on Windows). A metric stored as best score may be float32.
_NUMPY_TYPES = ('float64', 'float32', 'int64', 'int32')


def history_method(owner: type, name: str) -> Callable:
    """Return a public method of ``HistoryBuffer``, in place of ``getattr``.

    A ``HistoryBuffer`` stores its methods beside its data, and pickle writes
    each as ``getattr(HistoryBuffer, 'mean')``. The built-in ``getattr`` would
    return any attribute of any class.
    """
    buffer_class = sys.modules[HISTORY_BUFFER_MODULE].HistoryBuffer
    if owner is not buffer_class or name.startswith('_'):
        raise UnpicklingError(
            f'the checkpoint asks for attribute {name!r} of {owner!r}; only '
            'the public methods of HistoryBuffer may be stored, so do not '
            'load this file unless you trust its source'
        )
    return getattr(buffer_class, name)


def checkpoint_globals(history_buffer: ModuleType) -> list[AllowedGlobal]:
    """List the objects of MMEngine's checkpoints beyond torch's own types.

    Returns:
        Pairs of an object and the name under which it is pickled. Pairs stay
        listed when the end of a ``torch.serialization.safe_globals`` block
        removes the bare objects.
    """
    import numpy as np

    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[AllowedGlobal] = [
        (
            history_buffer.HistoryBuffer,
            f'{HISTORY_BUFFER_MODULE}.HistoryBuffer',
        ),
        (history_method, 'builtins.getattr'),
        (np.ndarray, 'numpy.ndarray'),
        (np.dtype, 'numpy.dtype'),
    ]
    for module in _NUMPY_MODULES:
        allowed.append((reconstruct, f'{module}._reconstruct'))
        allowed.append((scalar, f'{module}.scalar'))
    for name in _NUMPY_TYPES:
        dtype_class = type(np.dtype(name))
        allowed.append((dtype_class, f'numpy.dtypes.{dtype_class.__name__}'))
    return allowed


def allow_checkpoint_classes(history_buffer: ModuleType) -> None:
    """Allow-list the classes that MMEngine stores, from torch 2.6 on."""
    try:
        from torch import serialization
    except ImportError:  # MMEngine's own import of torch will report it
        return
    # This function exists since torch 2.6, as does the support of pairs.
    if hasattr(serialization, 'get_unsafe_globals_in_checkpoint'):
        serialization.add_safe_globals(checkpoint_globals(history_buffer))


def forbid_unrestricted_loading() -> None:
    """Make MMEngine's loader use the restricted unpickler only.

    The loader of the onedl fork falls back to unrestricted unpickling, which
    runs any code that a checkpoint contains. Upstream has no such fallback,
    but relies on the default of torch, which is safe since 2.6.
    """
    import torch
    from mmengine.runner import checkpoint

    if not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'):
        raise ImportError(f'torch {torch.__version__} loads unsafely')

    def load_restricted(
        file: object, map_location: object = None, weights_only: object = True
    ) -> object:
        return torch.load(file, map_location=map_location, weights_only=True)

    if hasattr(checkpoint, '_safe_torch_load'):
        checkpoint._safe_torch_load = load_restricted
