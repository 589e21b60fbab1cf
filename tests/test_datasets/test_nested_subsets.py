"""The parts of the images on which a race looks at scores."""

import pytest
from torch.utils.data import DataLoader

from detnas_mm.datasets.nested_subsets import nested_subsets, shuffle_batches


def loader(images=23, batch_size=4, **settings):
    return DataLoader(list(range(images)), batch_size=batch_size, **settings)


def batches(one):
    return [batch.tolist() for batch in one]


@pytest.mark.parametrize('workers', [0, 1])
def test_shuffled_batches_are_the_same_in_another_order(workers):
    plain = batches(loader())
    shuffled = batches(shuffle_batches(loader(num_workers=workers), 3))
    assert shuffled != plain
    assert sorted(shuffled) == plain
    again = shuffle_batches(loader(), 3)
    assert batches(again) == batches(again) == shuffled
    assert batches(shuffle_batches(loader(), 4)) != shuffled


def test_a_part_is_of_whole_batches():
    assert nested_subsets(loader(40), (0.1, 0.25, 0.5)) == {1: 4, 3: 12, 5: 20}
    # The small last batch of 3 may be among the first.
    short = DataLoader(
        list(range(11)), batch_sampler=[[8, 9, 10], [0, 1, 2, 3], [4, 5, 6, 7]]
    )
    assert nested_subsets(short, (0.2, 0.5)) == {1: 3, 2: 7}


@pytest.mark.parametrize('parts', [(0.1, 0.2), (0.5, 0.9)])
def test_too_few_batches_for_so_many_parts(parts):
    with pytest.raises(ValueError, match='20 images.*3 batches.*batch_size'):
        nested_subsets(loader(20, 8), parts)
