"""Converted backbones give what the foreign ones give."""

import pickle

import pytest
import torch
from kit.foreign import (
    AuthorsBackbone,
    MMRazorBackbone,
    SPOSBackbone,
    shuffled,
)
from kit.models import randomized
from kit.spaces import DETECTOR_SPACE
from mmpretrain.models import LinearClsHead

from detnas_mm.models import (
    MMRAZOR_CHOICES,
    DetNASClsNeck,
    DetNASNet,
    DetNASSupernet,
    convert_checkpoint,
    weights_below,
)
from detnas_mm.registry import MODELS
from detnas_mm.structures import SearchSpace
from detnas_mm.utils.errors import InputError

# Each choice with stride 2, and each with stride 1.
PATHS = [(0, 1, 2, 3, 1, 0), (3, 2, 1, 0, 3, 2)]
# Stages of several blocks, and halves that MMRazor makes equally wide.
DEEP_SPACE = SearchSpace(4, (8, 14, 20, 40), (3, 2, 3, 2))
DEEP_PATHS = [(0, 3, 2, 1, 0, 3, 2, 1, 3, 0), (3, 1, 0, 2, 3, 0, 1, 3, 2, 1)]


@pytest.fixture
def image():
    rng = torch.Generator().manual_seed(7)
    return torch.randn(2, 3, 64, 96, generator=rng)


def saved(file, net, prefix='', **extra):
    state = {f'{prefix}{key}': v for key, v in net.state_dict().items()}
    torch.save(state | extra, file)
    return file


def loaded(converted):
    """Our backbone with the converted weights."""
    net = MODELS.build(converted.backbone_cfg)
    net.load_state_dict(weights_below('backbone.', converted.state_dict))
    return net.eval()


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for output, expected in zip(ours, theirs, strict=True):
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('interleaved', [True, False])
def test_net_of_the_authors(tmp_path, image, interleaved):
    # Interleaved, as in the authors' final nets, is the default.
    shuffle = None if interleaved else 'grouped'
    for path in PATHS:
        theirs = AuthorsBackbone(DETECTOR_SPACE, path, interleaved)
        file = saved(tmp_path / 'net.pkl', randomized(theirs).eval())
        converted = convert_checkpoint(file, shuffle)
        assert converted.layout == 'authors'
        assert converted.search_space == DETECTOR_SPACE
        assert converted.path == ''.join(map(str, path))
        assert converted.shuffle == (shuffle or 'interleaved')
        ours = loaded(converted)
        assert type(ours) is DetNASNet
        assert_same(ours(image), theirs(image))


def test_supernet_of_the_authors(tmp_path, image):
    theirs = randomized(AuthorsBackbone(DETECTOR_SPACE)).eval()
    converted = convert_checkpoint(saved(tmp_path / 'supernet.pkl', theirs))
    assert (converted.path, converted.shuffle) == (None, 'grouped')
    ours = loaded(converted)
    assert type(ours) is DetNASSupernet
    for path in PATHS:
        with ours.activate(path):
            assert_same(ours(image), theirs(image, path))


def classifier(converted):
    """Returns neck and head with the weights of a checkpoint."""
    neck = DetNASClsNeck(converted.search_space.stage_channels[-1], 16).eval()
    neck.load_state_dict(weights_below('neck.', converted.state_dict))
    loss = dict(type='mmpretrain.CrossEntropyLoss', loss_weight=1.0)
    head = LinearClsHead(5, 16, loss=loss)
    head.load_state_dict(weights_below('head.', converted.state_dict))
    return neck, head


def test_classifier_of_the_authors(tmp_path, image):
    theirs = AuthorsBackbone(DETECTOR_SPACE, PATHS[0], True, classes=5)
    file = saved(tmp_path / 'net.pkl', randomized(theirs).eval())
    converted = convert_checkpoint(file)
    neck, head = classifier(converted)
    scores = head(neck(loaded(converted)(image)))
    assert_same([scores], [theirs.classify(image)])


@pytest.mark.parametrize('space', [DETECTOR_SPACE, DEEP_SPACE])
def test_supernet_of_spos(tmp_path, image, space):
    theirs = randomized(SPOSBackbone(space)).eval()
    state = {f'module.{k}': v for k, v in theirs.state_dict().items()}
    assert not [key for key in state if key.endswith('bias')]
    file = tmp_path / 'checkpoint.pth.tar'
    torch.save({'state_dict': state}, file)
    converted = convert_checkpoint(file)
    assert converted.layout == 'spos'
    assert converted.search_space == space
    assert (converted.path, converted.shuffle) == (None, 'interleaved')
    ours = loaded(converted)
    neck, head = classifier(converted)
    for path in PATHS if space is DETECTOR_SPACE else DEEP_PATHS:
        with ours.activate(path):
            outputs = ours(image)
        assert_same(outputs, theirs(image, path))
        scores = head(neck(outputs))
        assert_same([scores], [theirs.classify(image, path)])


def test_arrays_in_any_order(tmp_path, image):
    """Names, not positions in the file, say which layer is which."""
    theirs = randomized(AuthorsBackbone(DEEP_SPACE, DEEP_PATHS[0], True))
    arrays = {
        f'module.{key}': value.numpy()
        for key, value in reversed(theirs.state_dict().items())
        if 'num_batches_tracked' not in key
    }
    file = tmp_path / 'net.pkl'
    file.write_bytes(pickle.dumps(arrays, protocol=2))
    converted = convert_checkpoint(file)
    assert converted.search_space == DEEP_SPACE
    assert_same(loaded(converted)(image), theirs.eval()(image))


def test_folded_stem_bias(tmp_path, image):
    theirs = randomized(AuthorsBackbone(DETECTOR_SPACE, PATHS[0], True))
    file = saved(tmp_path / 'net.pkl', theirs.eval())
    kept = convert_checkpoint(file)
    folded = convert_checkpoint(file, fold_stem_bias=True)
    assert kept.state_dict['backbone.stem.0.bias'].abs().max() > 0.1
    assert folded.state_dict['backbone.stem.0.bias'].abs().max() == 0
    assert_same(loaded(folded)(image), theirs(image))
    theirs.first_conv.conv.bias = None
    without_bias = convert_checkpoint(saved(file, theirs))
    assert_same(loaded(without_bias)(image), theirs(image))


@pytest.mark.parametrize('word', ['choices', '_candidate_ops', '_candidates'])
def test_subnet_of_mmrazor(tmp_path, image, word):
    prefix = 'architecture.model.' if word == 'choices' else 'architecture.'
    for path in DEEP_PATHS:
        theirs = randomized(MMRazorBackbone(DEEP_SPACE, path, word)).eval()
        file = saved(tmp_path / 'net.pth', theirs, f'{prefix}backbone.')
        converted = convert_checkpoint(file)
        space = converted.search_space
        assert converted.layout == 'mmrazor'
        assert converted.path == ''.join(map(str, path))
        assert space.choices == MMRAZOR_CHOICES
        assert space.stage_channels == DEEP_SPACE.stage_channels
        # Ours shuffles where a stage is read, theirs where it is written.
        ours = [shuffled(feature) for feature in loaded(converted)(image)]
        assert_same(ours, theirs(image))


def test_supernet_of_mmrazor(tmp_path, image):
    theirs = randomized(MMRazorBackbone(DETECTOR_SPACE)).eval()
    file = saved(tmp_path / 'net.pth', theirs, 'architecture.backbone.')
    ours = loaded(convert_checkpoint(file))
    for path in PATHS:
        with ours.activate(path):
            features = [shuffled(feature) for feature in ours(image)]
        assert_same(features, theirs(image, path))


def test_classifier_of_mmrazor(tmp_path, image):
    theirs = MMRazorBackbone(DETECTOR_SPACE, PATHS[1], last=16)
    randomized(theirs).eval()
    fc = torch.nn.Linear(16, 5)
    fc_state = {f'head.fc.{key}': v for key, v in fc.state_dict().items()}
    file = saved(tmp_path / 'net.pth', theirs, 'backbone.', **fc_state)
    converted = convert_checkpoint(file)
    neck = DetNASClsNeck(DETECTOR_SPACE.stage_channels[-1], 16).eval()
    neck.load_state_dict(weights_below('neck.', converted.state_dict))
    vector = theirs.layers[-1](theirs(image)[-1]).mean((2, 3))
    assert_same(neck(loaded(converted)(image)), [vector])
    assert torch.equal(converted.state_dict['head.fc.weight'], fc.weight)


def without(state, prefix):
    return {k: v for k, v in state.items() if not k.startswith(prefix)}


def test_wrong_checkpoint_is_refused(tmp_path):
    state = AuthorsBackbone(DETECTOR_SPACE, PATHS[0]).state_dict()
    supernet = AuthorsBackbone(DETECTOR_SPACE).state_dict()
    mbconv = {
        key.replace('1a_shufflenet_3x3', '1a_mbconv_3x3'): value
        for key, value in state.items()
    }
    branch = 'features.0.conv.0.bn1a_shufflenet_3x3_branch2a'
    layer = 'features.1.conv.0.interstellar1b_shufflenet_5x5_branch2a.weight'
    for content, message in (
        (
            {'conv1.weight': torch.ones(1)},
            'first_conv.conv.weight.*_candidates.*but conv1.weight',
        ),
        (
            without(state, 'first_conv.bn'),
            'no complete backbone.*first_conv.bn',
        ),
        (without(state, branch), 'blocks.0.main has'),
        (
            without(state, 'features.0.proj_conv'),
            'no projection in block 0',
        ),
        (without(state, 'features'), 'no complete backbone'),
        (mbconv, 'block 0.*mbconv_3x3.*xception_3x3'),
        (state | {'se.fc.weight': torch.ones(1, 1)}, "'se.fc'"),
        (without(supernet, 'features.1.3'), 'blocks of 3 and 4 choices'),
        # A tensor of another shape.
        (
            state | {layer: torch.ones(5, 4, 1, 1)},
            r'blocks.1.main.0.weight \(5, 4',
        ),
    ):
        torch.save(content, tmp_path / 'a.pth')
        with pytest.raises(InputError, match=f'a.pth .*{message}') as error:
            convert_checkpoint(tmp_path / 'a.pth')
        assert '\n' not in str(error.value)


def test_wrong_shuffle_is_refused(tmp_path):
    authors = AuthorsBackbone(DETECTOR_SPACE, PATHS[0])
    file = saved(tmp_path / 'a.pth', authors)
    with pytest.raises(InputError, match='grouped, interleaved'):
        convert_checkpoint(file, shuffle='none')
    mmrazor = MMRazorBackbone(DETECTOR_SPACE, PATHS[0])
    file = saved(tmp_path / 'b.pth', mmrazor, 'backbone.')
    with pytest.raises(InputError, match='MMRazor is grouped'):
        convert_checkpoint(file, shuffle='interleaved')
