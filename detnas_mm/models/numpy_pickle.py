"""Reading pickled numpy arrays without running code.

Weights of older projects come as pickled dictionaries of numpy arrays, which
``torch.load`` does not read. Unpickling may call whatever a file names;
here it can build numbers, strings, containers and arrays of numbers.
"""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

# Kinds of numpy's numbers: floats, integers, booleans.
_NUMBERS = 'fiub'
_ARRAY = object()


def _empty_array(kind: object, shape: tuple, code: object) -> np.ndarray:
    """Stands for numpy's builder; the array's state is set afterwards."""
    if kind is not _ARRAY:
        raise pickle.UnpicklingError(f'it asks for an array of type {kind!r}')
    return np.zeros(0)


def _number_dtype(code: object, *_: object) -> np.dtype:
    # A copy, as its byte order is set afterwards.
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
    """Arrays of protocol 5."""
    array = np.frombuffer(buffer, dtype)
    return array.reshape(shape, order=order).copy()


def _latin1(data: bytes | str, encoding: str = 'latin1') -> bytes:
    """Bytes, which protocol 2 writes as text of code points up to 255."""
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
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f'it refers to {module}.{name}, which could run code'
            ) from None


def load_numpy_pickle(path: str | os.PathLike) -> object:
    """Reads a pickle of numbers, strings, containers and numpy arrays.

    Also one that Python 2 wrote.

    Raises:
        UnpicklingError: If the file holds anything else, or is no pickle.
    """
    with open(path, 'rb') as file:
        try:
            return _ArrayUnpickler(file, encoding='latin1').load()
        except pickle.UnpicklingError:
            raise
        except Exception as error:
            # A broken file ends in errors of many types.
            raise pickle.UnpicklingError(
                f'it is no pickle of arrays ({error})'
            ) from error
