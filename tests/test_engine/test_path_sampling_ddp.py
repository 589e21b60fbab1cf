"""Training of a supernet by two processes."""

import socket

import pytest
import torch
from ddp_training import fixed_model, gradients, train
from kit.models import toy_batch
from torch import multiprocessing


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """What came out on each of two ranks."""
    folder = tmp_path_factory.mktemp('ddp')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train, args=(str(folder), port), nprocs=2)
    return [
        torch.load(folder / f'rank{rank}.pth', weights_only=False)
        for rank in range(2)
    ]


def test_ranks_draw_equal_paths(ranks):
    assert ranks[0]['wrapped'] == 'MMDistributedDataParallel'
    assert ranks[0]['seed'] == ranks[1]['seed']
    assert ranks[0]['paths'] == ranks[1]['paths']
    assert len(set(ranks[0]['paths'])) > 1


def test_what_the_path_leaves_out_stays_bit_for_bit(ranks):
    for rank in ranks:
        assert rank['changed_outside'] == [set()] * 6


def test_ranks_have_equal_weights(ranks):
    for name, weight in ranks[0]['weights'].items():
        assert torch.equal(weight, ranks[1]['weights'][name])


def test_gradients_are_those_of_the_joined_batch(ranks):
    batches = [toy_batch(2, seed=rank) for rank in range(2)]
    joined = {
        key: torch.cat([batch[key] for batch in batches]) for key in batches[0]
    }
    torch.manual_seed(0)
    expected = gradients(fixed_model(), joined)
    for rank in ranks:
        assert rank['gradients'].keys() == expected.keys()
        for name, gradient in rank['gradients'].items():
            torch.testing.assert_close(gradient, expected[name])
