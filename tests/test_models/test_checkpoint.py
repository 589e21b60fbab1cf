"""Checkpoints: keys that fit are loaded, anything else is refused."""

import os
import pickle
import re
import sys
from collections import OrderedDict

import pytest
import torch
from kit.models import ToyClassifier, changed_keys, searched, supernet
from kit.spaces import TWO_BLOCKS

from detnas_mm.models import (
    DetNASNet,
    load_state_dict,
    save_checkpoint,
)
from detnas_mm.utils.errors import InputError


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a classifier around the network of path 13."""
    model = ToyClassifier(searched(TWO_BLOCKS, '13', seed=4))
    file = tmp_path / 'classifier.pth'
    meta = dict(epoch=1, cfg='model = 1')
    torch.save(dict(meta=meta, state_dict=model.state_dict()), file)
    return file


@pytest.fixture
def state():
    return searched(TWO_BLOCKS, '13').state_dict()


def load(file, path='13', prefix='backbone.', as_list=False):
    init_cfg = dict(type='Pretrained', checkpoint=str(file), prefix=prefix)
    net = DetNASNet(
        path,
        TWO_BLOCKS,
        out_indices=[0],
        init_cfg=[init_cfg] if as_list else init_cfg,
    )
    net.init_weights()
    return net


@pytest.mark.parametrize(
    'settings', [{}, dict(prefix='backbone'), dict(as_list=True)]
)
def test_pretrained_backbone_is_loaded(checkpoint, settings):
    net = load(checkpoint, **settings)
    # Initialization is repeated with a warning; the weights stay.
    net.init_weights()
    expected = {
        key.removeprefix('backbone.'): value
        for key, value in load_state_dict(checkpoint).items()
        if key.startswith('backbone.')
    }
    assert not changed_keys(expected, net.state_dict())


def test_pretrained_supernet_is_loaded_as_a_whole(tmp_path):
    before = supernet(TWO_BLOCKS, seed=4)
    file = tmp_path / 'supernet.pth'
    torch.save(before.state_dict(), file)
    init_cfg = dict(type='Pretrained', checkpoint=str(file))
    net = supernet(TWO_BLOCKS, init_cfg=init_cfg)
    net.init_weights()
    assert not changed_keys(before.state_dict(), net.state_dict())


def test_checkpoint_that_does_not_fit_is_refused(checkpoint):
    stem, extra = 'backbone.stem.0.weight', 'backbone.blocks.2.weight'
    missing = 'backbone.blocks.0.main.0.weight'
    content = torch.load(checkpoint)
    weights = content['state_dict']
    for edited, settings, message in (
        (
            {k: v for k, v in weights.items() if k != missing},
            dict(as_list=True),
            r'backbone.\* of .* does not fit DetNASNet: '
            '1 missing: blocks.0.main.0.weight$',
        ),
        (
            weights | {extra: torch.ones(1)},
            {},
            '1 left over: blocks.2.weight',
        ),
        (
            weights | {stem: torch.ones(5, 3)},
            {},
            r'1 of another shape: stem.0.weight \(5, 3\) for \(4, 3, 3, 3\)',
        ),
        (weights, dict(path='31'), 'does not fit.* more'),
        (weights, dict(prefix=None), 'missing.*left over'),
    ):
        torch.save(content | dict(state_dict=edited), checkpoint)
        with pytest.raises(InputError, match=message):
            load(checkpoint, **settings)


def test_missing_checkpoint_is_refused(tmp_path):
    file = tmp_path / 'none.pth'
    with pytest.raises(InputError, match='none.pth.*init_cfg=None'):
        load(file)
    with pytest.raises(InputError, match='no checkpoint at .*none.pth'):
        load_state_dict(file)


class Calls:
    """Makes unpickling call a function."""

    def __init__(self, function, args, state=None, items=()):
        self.call = function, args, state
        self.items = items

    def __reduce__(self):
        return *self.call, iter(self.items)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path, zipped):
    file, target = tmp_path / 'evil.pth', tmp_path / 'pwned'
    content = dict(state_dict=dict(weight=Calls(os.mkdir, (str(target),))))
    if zipped:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    for read in (load_state_dict, load):
        with pytest.raises(InputError, match='evil.pth .*loaded safely'):
            read(file)
    assert not target.exists()
    # Unrestricted loading would run it.
    if zipped:
        torch.load(file, weights_only=False)
        assert target.exists()


@pytest.mark.parametrize('zipped', [True, False])
def test_torchs_advice_is_not_repeated(tmp_path, zipped):
    """It tells users to load such a file without any restriction."""
    file = tmp_path / 'evil.pth'
    for call, reason in (
        ((os.system, ('true',)), 'it refers to posix.system, which could'),
        ((sys.exit, ()), 'it refers to sys.exit, which could'),
        ((eval, ('1',)), 'it refers to eval, which could'),
        ((OrderedDict, (), None, [1]), 'it holds more than weights'),
    ):
        content = dict(state_dict=Calls(*call))
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        with pytest.raises(InputError, match=reason) as error:
            load_state_dict(file)
        assert str(file) in str(error.value)
        assert 'weights_only' not in str(error.value)
        assert '\n' not in str(error.value)


def test_file_that_is_not_a_checkpoint_is_refused(tmp_path):
    file = tmp_path / 'wrong.pth'
    for content, reason in (
        (b'', 'is not a checkpoint'),
        (b'no checkpoint', 'is not a checkpoint'),
        (b'\x80\x02.', 'is not a checkpoint'),
        ([torch.ones(1)], 'mapping of weights, got list'),
        ({'epoch': 3}, "weights, but 'epoch' is a int"),
    ):
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            torch.save(content, file)
        expected = f'wrong.pth .*{re.escape(reason)}'
        with pytest.raises(InputError, match=expected):
            load_state_dict(file)


@pytest.mark.parametrize('key', ['state_dict', 'model', None])
def test_weights_are_found_under_the_keys_of_projects(tmp_path, state, key):
    # DDP adds a prefix.
    weights = {f'module.{name}': value for name, value in state.items()}
    content = {key: weights, 'iteration': 3} if key else weights
    for zipped in (True, False):
        file = tmp_path / f'weights_{zipped}.pkl'
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        assert not changed_keys(load_state_dict(file), state)


@pytest.mark.parametrize('key', ['blobs', None])
def test_weights_are_read_from_pickled_arrays(tmp_path, state, key):
    arrays = {f'module.{name}': value.numpy() for name, value in state.items()}
    file = tmp_path / 'weights.pkl'
    file.write_bytes(pickle.dumps({key: arrays} if key else arrays))
    assert not changed_keys(load_state_dict(file), state)


def test_checkpoint_is_saved_completely_or_not_at_all(tmp_path):
    file = tmp_path / 'saved.pth'
    save_checkpoint({'state_dict': {'weight': torch.ones(2)}}, file)
    before = file.read_bytes()
    with pytest.raises(AttributeError):
        save_checkpoint({'state_dict': lambda: None}, file)
    assert file.read_bytes() == before
    assert [file] == list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle'])
def test_truncated_file_is_refused(tmp_path, state, kind):
    file = tmp_path / 'whole.pth'
    if kind == 'pickle':
        arrays = {name: value.numpy() for name, value in state.items()}
        file.write_bytes(pickle.dumps(arrays))
    else:
        zipped = kind == 'zip'
        torch.save(state, file, _use_new_zipfile_serialization=zipped)
    content = file.read_bytes()
    for length in (60, len(content) // 2, len(content) - 10):
        (tmp_path / 'part.pth').write_bytes(content[:length])
        with pytest.raises(InputError, match='part.pth .*damaged or trunc'):
            load_state_dict(tmp_path / 'part.pth')
