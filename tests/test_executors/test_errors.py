"""Reasons of failures, in one line."""

import pytest
from torch.utils.data import DataLoader

from detnas_mm.executors.errors import describe


class BrokenImages:
    """A data set whose images cannot be read."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise OSError(f'image {index} is\ntruncated: a.jpg')


def test_first_line_of_an_error():
    assert describe(ValueError('lost\nin detail')) == 'ValueError: lost'
    assert describe(ValueError()) == 'ValueError: '


def test_cause_of_an_error_in_a_worker_of_a_data_loader():
    """Not that there was a worker, but what it met."""
    with pytest.raises(OSError, match='worker') as error:
        next(iter(DataLoader(BrokenImages(), num_workers=1)))
    assert describe(error.value) == 'OSError: image 0 is'
