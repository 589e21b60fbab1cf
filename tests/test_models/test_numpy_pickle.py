"""Pickled arrays are read, anything else in a pickle is refused."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from detnas_mm.models.numpy_pickle import load_numpy_pickle

RNG = np.random.default_rng(0)
# {'weight': arange(3, dtype='f4')} as Python 2 writes it, in which text and
# bytes are the same.
PYTHON_2 = (
    b'\x80\x02}q\x00U\x06weightq\x01cnumpy.core.multiarray\n_reconstruct\n'
    b'q\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04U\x01bq\x05\x87q\x06Rq\x07'
    b'(K\x01K\x03\x85q\x08cnumpy\ndtype\nq\tU\x02f4q\nK\x00K\x01\x87q\x0b'
    b'Rq\x0c(K\x03U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0e'
    b'b\x89U\x0c\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@q\x0ftq\x10bs.'
)


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'weights.pkl'


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read(file, protocol):
    arrays = OrderedDict(
        floats=RNG.normal(size=(3, 4)).astype('f4'),
        fortran=np.asfortranarray(RNG.normal(size=(2, 3))),
        swapped=np.arange(3, dtype='>i4'),
        empty=np.zeros((0, 2), dtype=bool),
        scalar=np.float32(2.5),
    )
    plain = {'iter': 7, 'lr': 0.1, 'names': ['ü', None, (True, b'raw')]}
    file.write_bytes(pickle.dumps(plain, protocol))
    assert load_numpy_pickle(file) == plain
    file.write_bytes(pickle.dumps(arrays, protocol))
    loaded = load_numpy_pickle(file)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        # numpy itself gives swapped bytes back in the machine's order.
        assert loaded[name].dtype in (array.dtype, array.dtype.newbyteorder())
        np.testing.assert_array_equal(loaded[name], array)


def test_file_of_python_2_is_read(file):
    file.write_bytes(PYTHON_2)
    weight = load_numpy_pickle(file)['weight']
    np.testing.assert_array_equal(weight, np.arange(3, dtype=np.float32))


class RunsCode:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_code_is_not_run(file, tmp_path):
    target = tmp_path / 'pwned'
    content = pickle.dumps({'weight': RunsCode(target)})
    file.write_bytes(content)
    with pytest.raises(pickle.UnpicklingError, match='mkdir, which could'):
        load_numpy_pickle(file)
    assert not target.exists()
    pickle.loads(content)  # It would have been run otherwise.
    assert target.exists()


def test_anything_else_is_refused(file):
    for content in (
        pickle.dumps(np.array([1, 'a'], dtype=object)),
        pickle.dumps(np.zeros(2, dtype='f4,i4')),
        b'cnumpy\nndarray\n(I3\ntR.',
        b'cnumpy.core.multiarray\n_reconstruct\n(I3\nI3\nI3\ntR.',
        b'c_codecs\nencode\n(Vab\nVrot13\ntR.',
        pickle.dumps(np.arange(9))[:-9],
        b'',
        b'no pickle',
        b'\x80\x02.',
    ):
        file.write_bytes(content)
        with pytest.raises(pickle.UnpicklingError):
            load_numpy_pickle(file)
