"""Checkpoints: what fits is loaded, what does not is an error."""

import os
import pickle
import sys
from collections import OrderedDict

import pytest
import torch
from kit.models import (
    ToyClassifier,
    changed_keys,
    copies,
    searched,
    supernet,
)
from kit.spaces import DETECTOR_SPACE, TWO_BLOCKS
from torch import nn

from detnas_mm.models import (
    DetNASNet,
    DetNASSupernet,
    load_state_dict,
    require_matching_keys,
    save_checkpoint,
)


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a classifier around the network of path 13."""
    model = ToyClassifier(searched(TWO_BLOCKS, '13', seed=4))
    file = tmp_path / 'classifier.pth'
    meta = dict(epoch=1, cfg='model = 1')
    torch.save(dict(meta=meta, state_dict=model.state_dict()), file)
    return file


def change(file, edit):
    content = torch.load(file)
    edit(content['state_dict'])
    torch.save(content, file)


def load(file, path='13', **settings):
    init_cfg = dict(
        type='Pretrained', checkpoint=str(file), prefix='backbone.'
    )
    net = DetNASNet(
        path,
        TWO_BLOCKS,
        out_indices=[0],
        init_cfg=settings.pop('init_cfg', init_cfg | settings),
    )
    net.init_weights()
    return net


def backbone_of(file):
    return {
        key.removeprefix('backbone.'): value
        for key, value in load_state_dict(file).items()
        if key.startswith('backbone.')
    }


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone'])
def test_pretrained_backbone_is_loaded(checkpoint, prefix):
    net = load(checkpoint, prefix=prefix)
    assert not changed_keys(backbone_of(checkpoint), net.state_dict())


def test_pretrained_supernet_is_loaded_as_a_whole(tmp_path):
    before = supernet(TWO_BLOCKS, seed=4)
    torch.save(before.state_dict(), tmp_path / 'supernet.pth')
    init_cfg = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'supernet.pth')
    )
    net = DetNASSupernet(TWO_BLOCKS, out_indices=[0], init_cfg=init_cfg)
    net.init_weights()
    assert not changed_keys(before.state_dict(), net.state_dict())


@pytest.mark.parametrize('as_list', [False, True])
def test_initialised_twice_the_weights_stay(checkpoint, as_list):
    """Only a warning in MMEngine's modules; nothing may be drawn anew."""
    cfg = dict(
        type='Pretrained', checkpoint=str(checkpoint), prefix='backbone.'
    )
    net = load(checkpoint, init_cfg=[cfg] if as_list else cfg)
    net.init_weights()
    assert not changed_keys(backbone_of(checkpoint), net.state_dict())


def test_weights_of_ddp_are_loaded(tmp_path):
    state = searched(TWO_BLOCKS, '13').state_dict()
    file = tmp_path / 'ddp.pth'
    torch.save({f'module.{key}': value for key, value in state.items()}, file)
    assert not changed_keys(load_state_dict(file), state)


@pytest.mark.parametrize('as_list', [False, True])
def test_missing_key_is_an_error(checkpoint, as_list):
    key = 'backbone.blocks.0.main.0.weight'
    change(checkpoint, lambda state: state.pop(key))
    cfg = dict(
        type='Pretrained', checkpoint=str(checkpoint), prefix='backbone.'
    )
    with pytest.raises(ValueError, match='does not fit DetNASNet') as error:
        load(checkpoint, init_cfg=[cfg] if as_list else cfg)
    message = str(error.value)
    assert '1 missing: blocks.0.main.0.weight' in message
    assert f'backbone.* of {checkpoint}' in message
    assert 'left over' not in message


def test_left_over_key_is_an_error(checkpoint):
    extra = 'backbone.blocks.2.main.0.weight'
    change(checkpoint, lambda state: state.update({extra: torch.ones(1)}))
    with pytest.raises(
        ValueError, match='1 left over: blocks.2.main.0.weight'
    ):
        load(checkpoint)


def test_key_of_another_shape_is_an_error(checkpoint):
    key = 'backbone.stem.0.weight'
    change(checkpoint, lambda state: state.update({key: torch.ones(5, 3)}))
    with pytest.raises(ValueError, match='1 of another shape') as error:
        load(checkpoint)
    assert 'stem.0.weight (5, 3) for (4, 3, 3, 3)' in str(error.value)


def test_weights_of_another_path_are_an_error(checkpoint):
    with pytest.raises(ValueError, match='does not fit.* more'):
        load(checkpoint, path='31')


def test_forgotten_prefix_is_an_error(checkpoint):
    with pytest.raises(ValueError, match='missing.*left over'):
        load(checkpoint, prefix=None)


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(ValueError, match='no checkpoint at .*none') as (error):
        load(tmp_path / 'none.pth')
    assert 'model.backbone.init_cfg=None' in str(error.value)


def test_matching_keys_pass():
    net = nn.Linear(2, 3)
    require_matching_keys(net, net.state_dict(), 'here')
    many = {f'extra{i}': torch.ones(1) for i in range(5)}
    with pytest.raises(ValueError, match='^here does not fit Linear') as e:
        require_matching_keys(net, net.state_dict() | many, 'here')
    assert '5 left over: extra0, extra1, extra2 and 2 more' in str(e.value)


class Malicious:
    """Runs code when it is unpickled without restrictions."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_checkpoint_is_not_run(tmp_path, zipped):
    file, target = tmp_path / 'evil.pth', tmp_path / 'pwned'
    content = dict(state_dict=dict(weight=Malicious(target)))
    if zipped:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    for read in (load_state_dict, load):
        with pytest.raises(ValueError, match='cannot|not .*safely') as error:
            read(file)
        assert str(file) in str(error.value)
    assert not target.exists()
    # It would have been run otherwise.
    if zipped:
        torch.load(file, weights_only=False)
        assert target.exists()


class Calls:
    """Calls what torch refuses in words of its own."""

    def __init__(self, function, args, state=None, items=()):
        self.call = function, args, state
        self.items = items

    def __reduce__(self):
        return *self.call, iter(self.items)


@pytest.mark.parametrize('zipped', [True, False])
@pytest.mark.parametrize(
    ('call', 'named'),
    [
        ((os.system, ('true',)), 'it refers to posix.system, which could'),
        ((sys.exit, ()), 'it refers to sys.exit, which could'),
        ((eval, ('1',)), 'it refers to eval, which could'),
        ((OrderedDict, (), None, [1]), 'it holds more than weights'),
    ],
)
def test_what_torch_advises_is_not_repeated(tmp_path, call, named, zipped):
    """It tells users to load such a file without any restriction."""
    file = tmp_path / 'evil.pth'
    torch.save(
        dict(state_dict=Calls(*call)),
        file,
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(ValueError, match=named) as error:
        load_state_dict(file)
    assert str(file) in str(error.value)
    assert 'weights_only' not in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [b'', b'no checkpoint', b'\x80\x02.'])
def test_broken_file_is_an_error(tmp_path, content):
    file = tmp_path / 'broken.pth'
    file.write_bytes(content)
    with pytest.raises(ValueError, match='broken.pth is not a checkpoint'):
        load_state_dict(file)


def test_file_without_weights_is_an_error(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(ValueError, match='mapping of weights, got list'):
        load_state_dict(tmp_path / 'list.pth')


@pytest.mark.parametrize('legacy', [True, False])
@pytest.mark.parametrize('key', ['state_dict', 'model', None])
def test_weights_are_found_where_projects_keep_them(tmp_path, key, legacy):
    state = searched(TWO_BLOCKS, '13').state_dict()
    content = {key: state, 'iteration': 3} if key else state
    file = tmp_path / 'weights.pkl'
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    assert not changed_keys(load_state_dict(file), state)


@pytest.mark.parametrize('key', ['blobs', None])
def test_weights_are_read_from_pickled_arrays(tmp_path, key):
    state = searched(TWO_BLOCKS, '13').state_dict()
    arrays = {f'module.{name}': value.numpy() for name, value in state.items()}
    file = tmp_path / 'weights.pkl'
    file.write_bytes(pickle.dumps({key: arrays} if key else arrays))
    assert not changed_keys(load_state_dict(file), state)


def test_mapping_of_anything_else_is_an_error(tmp_path):
    torch.save({'epoch': 3}, tmp_path / 'log.pth')
    with pytest.raises(ValueError, match="weights, but 'epoch' is a int"):
        load_state_dict(tmp_path / 'log.pth')


def test_checkpoint_is_saved_completely_or_not_at_all(tmp_path):
    file = tmp_path / 'saved.pth'
    save_checkpoint({'state_dict': {'weight': torch.ones(2)}}, file)
    before = file.read_bytes()
    with pytest.raises(AttributeError):
        save_checkpoint({'state_dict': lambda: None}, file)
    assert file.read_bytes() == before
    assert [file] == list(tmp_path.iterdir())


def test_training_supernet_checkpoint_is_read(tmp_path):
    """All of what a run stores beside the weights is left out."""
    net = supernet(DETECTOR_SPACE)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    file = tmp_path / 'iter_1.pth'
    torch.save(
        dict(
            meta=dict(iter=1),
            state_dict=net.state_dict(),
            optimizer=optimizer.state_dict(),
        ),
        file,
    )
    assert not changed_keys(copies(net.state_dict()), load_state_dict(file))


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle'])
def test_truncated_file_is_called_so(tmp_path, kind):
    state = searched(TWO_BLOCKS, '13').state_dict()
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
        with pytest.raises(ValueError, match='is damaged or trunc') as error:
            load_state_dict(tmp_path / 'part.pth')
        assert 'part.pth' in str(error.value)
