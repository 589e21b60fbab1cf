"""Unpickling of numpy arrays without running code.

Weights of older projects come as pickled dictionaries of numpy arrays, which
``torch.load`` does not read. Plain unpickling calls any function that a file
names; this one builds only numbers, strings, containers and arrays.
"""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

# numpy's kinds of floats, integers and booleans.
_NUMBERS = 'fiub'
_ARRAY = object()


def _empty_array(kind: object, shape: tuple, code: object) -> np.ndarray:
    """Replace numpy's builder; pickle sets the state of the array later."""
    if kind is not _ARRAY:
        raise pickle.UnpicklingError(f'it asks for an array of type {kind!r}')
    return np.zeros(0)


def _number_dtype(code: object, *_: object) -> np.dtype:
    # A copy, since pickle sets its byte order later.
    dtype = np.dtype(code, False, True)
    if dtype.kind not in _NUMBERS:
        raise pickle.UnpicklingError(
            f'it holds an array of {dtype}, expected numbers'
        )
    return dtype


def _number(dtype: np.dtype, data: bytes | str) -> np.generic:
    return np.frombuffer(_latin1(data), dtype)[0]


def _array(
    buffer: bytes, dtype: np.dtype, shape: tuple, order: str
) -> np.ndarray:
    """Build an array of protocol 5."""
    array = np.frombuffer(buffer, dtype)
    return array.reshape(shape, order=order).copy()


def _latin1(data: bytes | str, encoding: str = 'latin1') -> bytes:
    """Return bytes, which protocol 2 writes as latin-1 text."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it holds bytes as {encoding!r}')
    return data.encode('latin1') if isinstance(data, str) else bytes(data)


_ALLOWED: dict[tuple[str, str], object] = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('numpy', 'ndarray'): _ARRAY,
    ('numpy', 'dtype'): _number_dtype,
    ('_codecs', 'encode'): _latin1,
    ('__builtin__', 'bytes'): bytes,
}
# numpy 1 and numpy 2 name their modules differently.
for _package in ('numpy.core', 'numpy._core'):
    _ALLOWED |= {
        (f'{_package}.multiarray', '_reconstruct'): _empty_array,
        (f'{_package}.multiarray', 'scalar'): _number,
        (f'{_package}.numeric', '_frombuffer'): _array,
    }


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f'it refers to {module}.{name}, which could run code'
            )
        return _ALLOWED[module, name]


def load_numpy_pickle(path: str | os.PathLike) -> object:
    """Read a pickle, also of Python 2; raise UnpicklingError if it fails."""
    with open(path, 'rb') as file:
        try:
            return _ArrayUnpickler(file, encoding='latin1').load()
        except pickle.UnpicklingError:
            raise
        except Exception as error:
            # Damaged files raise errors of many types.
            raise pickle.UnpicklingError(
                f'it is not a pickle of arrays ({error})'
            ) from error
