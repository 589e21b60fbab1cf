"""Training of a supernet by two processes."""

import pytest
import torch
from kit.ddp_training import (
    PATH,
    fixed_model,
    gradients,
    statistics,
    train,
    train_on_gpus,
)
from kit.jobs import free_port, server_context
from kit.models import changed_keys, toy_batch
from kit.toy_search import loader_config
from torch import multiprocessing

from detnas_mm.datasets.calibration import build_calibration_loader
from detnas_mm.models import recalibrate_bn
from detnas_mm.utils.random_state import fixed_random_state

GPUS = torch.cuda.device_count()
BATCHES = [toy_batch(2, seed=rank) for rank in range(2)]
JOINED = {
    key: torch.cat([batch[key] for batch in BATCHES]) for key in BATCHES[0]
}


def run_ranks(folder, function):
    """Returns the results of two ranks."""
    server_context('kit.ddp_training')
    multiprocessing.start_processes(
        function,
        args=(str(folder), free_port()),
        nprocs=2,
        start_method='forkserver',
    )
    return [
        torch.load(
            folder / f'rank{rank}.pth', weights_only=False, map_location='cpu'
        )
        for rank in range(2)
    ]


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """The results of a training by two ranks."""
    return run_ranks(tmp_path_factory.mktemp('ddp'), train)


def test_ranks_draw_equal_paths(ranks):
    assert ranks[0]['wrapped'] == 'MMDistributedDataParallel'
    assert ranks[0]['seed'] == ranks[1]['seed']
    assert ranks[0]['paths'] == ranks[1]['paths']
    assert len(set(ranks[0]['paths'])) > 1


def test_untaken_choices_stay_bit_for_bit(ranks):
    for rank in ranks:
        assert rank['changed_outside'] == [set()] * 6


def test_ranks_have_equal_weights(ranks):
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    for name, weight in ranks[0]['weights'].items():
        if not name.endswith(statistics):
            assert torch.equal(weight, ranks[1]['weights'][name])


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], msg=name)


def seeded_model():
    torch.manual_seed(0)
    return fixed_model()


def test_gradients_equal_those_of_the_joined_batch(ranks):
    expected = gradients(seeded_model(), JOINED)
    assert len(expected) > 20
    for rank in ranks:
        assert_close(rank['gradients'], expected)


def test_only_gradients_of_taken_choices_are_sent(ranks):
    """The result equals PyTorch's own, which sends all, bit for bit."""
    for rank in ranks:
        assert rank['registered'] == 1
        expected = rank['averaged'][False]['gradients']
        found = rank['averaged'][True]['gradients']
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert torch.equal(value, expected[name])
        values = sum(value.numel() for value in found.values())
        assert rank['averaged'][True]['sent'] == values
        assert values < sum(p.numel() for p in seeded_model().parameters())


def test_gradients_are_exchanged_in_channels_last(ranks):
    for rank in ranks:
        assert rank['wrapped_again'] == 'MMDistributedDataParallel'
        assert not [text for text in rank['warnings'] if 'strides' in text]
        assert_close(rank['channels_last'], rank['plain'])


def test_bn_in_training_uses_the_batch_of_its_rank(ranks):
    """Statistics are of the own batch, gradients the mean of both."""
    models = [seeded_model() for _ in BATCHES]
    shards = [
        gradients(model, batch, train=True)
        for model, batch in zip(models, BATCHES, strict=True)
    ]
    mean = {
        name: (shards[0][name] + shards[1][name]) / 2 for name in shards[0]
    }
    for rank, model in zip(ranks, models, strict=True):
        assert_close(rank['train_gradients'], mean)
        assert_close(rank['statistics'], statistics(model))
    first = 'backbone.stem.1.running_mean'
    joined = seeded_model()
    gradients(joined, JOINED, train=True)
    both = sum(rank['statistics'][first] for rank in ranks) / 2
    torch.testing.assert_close(both, statistics(joined)[first])


def assert_as_with_the_joined_batch(results):
    """Compares two ranks with one that has both batches."""
    model = seeded_model()
    expected = gradients(model, JOINED, train=True)
    for result in results:
        assert_close(result['gradients'], expected)
        assert_close(result['statistics'], statistics(model))


def test_synchronized_bn_uses_the_joined_batch(ranks):
    assert_as_with_the_joined_batch(rank['synchronized'] for rank in ranks)


@pytest.mark.skipif(
    GPUS < 2, reason=f'SyncBN needs two GPUs, this machine has {GPUS}'
)
def test_sync_bn_uses_the_joined_batch(tmp_path):
    assert_as_with_the_joined_batch(run_ranks(tmp_path, train_on_gpus))


def test_every_rank_recalibrates_on_all_images(ranks):
    """Ranks share the images of a validation, not those of calibration."""
    first, second = (rank['recalibrated'] for rank in ranks)
    alone = fixed_model()
    alone.load_state_dict(ranks[0]['weights'])
    alone.backbone.set_path(PATH)
    loader = build_calibration_loader(loader_config(noise=0.5), num_images=6)
    with fixed_random_state((0, 6)):
        assert recalibrate_bn(alone, loader) == 6
    expected = alone.state_dict()
    # The other layers have the statistics of the training, per rank.
    changed = changed_keys(ranks[0]['weights'], first)
    assert len([key for key in changed if 'running_var' in key]) > 8
    for key in changed:
        assert torch.equal(first[key], second[key])
        assert torch.equal(first[key], expected[key])
