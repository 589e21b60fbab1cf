"""The command lines that convert, publish and extract checkpoints."""

import hashlib

import pytest
import torch
import yaml
from kit.command_lines import run_here
from kit.counting import count_macs, count_params
from kit.digits_runs import CONFIGS
from kit.foreign import (
    AuthorsBackbone,
    BenchmarkBoxHead,
    BenchmarkDetector,
    BenchmarkFPN,
    BenchmarkRetinaHead,
    BenchmarkRPNHead,
    ConvBN,
    MMRazorBackbone,
)
from kit.models import searched, supernet
from kit.spaces import DETECTOR_SPACE
from torch import nn

from detnas_mm.models import PUBLISHED_PATHS, DetNASNet
from detnas_mm.structures import SEARCH_SPACES

CONVERT = 'model_converters/convert_checkpoint.py'
PUBLISH = 'model_converters/publish_model.py'
SMALL = SEARCH_SPACES['small']
PATH = (0, 1, 2, 3, 1, 0)


def authors_net(name, **settings):
    path = SMALL.parse(PUBLISHED_PATHS[name][1])
    return AuthorsBackbone(SMALL, path, **settings)


def faster_rcnn(body):
    return BenchmarkDetector(
        body,
        BenchmarkFPN(SMALL.stage_channels, 256, norm=True),
        BenchmarkRPNHead(256, anchors=3),
        BenchmarkBoxHead(
            256, 7, 1024, classes=80, convolutions=4, norm=True, fcs=1
        ),
    )


def retinanet():
    return BenchmarkDetector(
        authors_net('detnas_retinanet_300m'),
        BenchmarkFPN(SMALL.stage_channels, 256, norm=False, retina=True),
        BenchmarkRetinaHead(256, anchors=9, classes=80, number=4),
    )


def imagenet_net():
    net = authors_net('detnas_fpn_300m', classes=1000)
    net.last_conv = ConvBN(640, 1024, bias=True)
    net.fc.fc = nn.Linear(1024, 1000)
    return net


def convert(tmp_path, build, *arguments):
    """Converts a network; returns the checkpoint and what is printed."""
    with torch.device('meta'):
        net = build()
    state = {
        # The values do not matter here, and one number needs no space.
        key: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for key, value in net.state_dict().items()
    }
    torch.save(state, tmp_path / 'theirs.pkl')
    out = tmp_path / 'ours.pth'
    log = run_here(CONVERT, tmp_path / 'theirs.pkl', out, *arguments)
    return torch.load(out, weights_only=True), log


# The authors' networks at full size: how each is built, the config that it
# fits with some options, and its path and shuffle.
PUBLISHED = {
    'faster_rcnn': (
        lambda: faster_rcnn(authors_net('detnas_fpn_300m')),
        'faster-rcnn_detnas-small_fpn_1x_coco',
        (),
        ('21202112331300313132', 'interleaved'),
    ),
    # Its FPN has no BN and computes the sixth level from the fifth.
    'retinanet': (
        retinanet,
        'retinanet_detnas-small_fpn_1x_coco',
        (
            *('--cfg-options', 'model.neck.norm_cfg=None'),
            'model.neck.add_extra_convs=on_output',
        ),
        ('23113213311133203333', 'interleaved'),
    ),
    'supernet': (
        lambda: faster_rcnn(AuthorsBackbone(SMALL)),
        'faster-rcnn_detnas-search-small_fpn_1x_coco',
        (),
        (None, 'grouped'),
    ),
    'classifier': (
        imagenet_net,
        'detnas-small_8xb128_in1k',
        ('--shuffle', 'grouped', '--fold-stem-bias'),
        ('21202112331300313132', 'grouped'),
    ),
}


@pytest.mark.parametrize('kind', PUBLISHED)
def test_published_network_fits_the_config(tmp_path, kind):
    build, name, options, expected = PUBLISHED[kind]
    config = CONFIGS / f'detnas/{name}.py'
    checkpoint, log = convert(tmp_path, build, '--config', config, *options)
    meta = checkpoint['meta']
    assert (meta['path'], meta['shuffle']) == expected
    assert meta['search_space'] == SMALL.to_dict()
    assert meta['converted_from'] == 'authors'
    if meta['path']:
        assert f"'search_space': 'small', 'path': '{meta['path']}'" in log
    else:
        assert 'supernet, converted from authors' in log
    if '--fold-stem-bias' in options:
        bias = checkpoint['state_dict']['backbone.stem.0.bias']
        assert bias.abs().max() == 0


def save(file, backbone, **meta):
    """Writes a checkpoint as a training leaves it."""
    weights = {f'backbone.{k}': v for k, v in backbone.state_dict().items()}
    weights['head.weight'] = torch.ones(3)
    meta |= dict(
        cfg='work_dir = "/home/me/secret"',
        epoch=6,
        dataset_meta=dict(classes=('cat', 'dog')),
    )
    torch.save(
        dict(
            meta=meta,
            state_dict=weights,
            optimizer=dict(state={0: torch.ones(99)}),
            message_hub=dict(log_scalars={}),
            param_schedulers=[dict(last_step=6)],
        ),
        file,
    )
    return file


@pytest.fixture
def tiny(tmp_path):
    return save(tmp_path / 'tiny.pth', searched('tiny', '0000000000'))


def test_published_checkpoint_is_stripped_and_named(tmp_path, tiny):
    out = run_here(PUBLISH, tiny, 'my_net', '--out-dir', tmp_path)
    (file,) = tmp_path.glob('my_net-*.pth')
    # It does not say which network it holds.
    first, second = out.splitlines()
    assert first == f'# {file}'
    assert 'give --path' in second
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'my_net-{digest[:8]}.pth'
    content = torch.load(file, weights_only=True)
    assert content['meta'] == dict(
        epoch=6, dataset_meta=dict(classes=('cat', 'dog'))
    )
    assert content.keys() == {'meta', 'state_dict'}
    assert torch.equal(content['state_dict']['head.weight'], torch.ones(3))
    assert b'secret' not in file.read_bytes()
    # Equal weights get the same name, different weights another name.
    run_here(PUBLISH, tiny, 'my_net', '--out-dir', tmp_path)
    assert list(tmp_path.glob('my_net-*.pth')) == [file]
    changed = torch.load(tiny)
    changed['state_dict']['head.weight'][0] = 2
    torch.save(changed, tiny)
    run_here(PUBLISH, tiny, 'my_net', '--out-dir', tmp_path)
    assert len(list(tmp_path.glob('my_net-*.pth'))) == 2


def published_entry(checkpoint, *arguments):
    """Publishes a checkpoint; returns the metafile entry that is printed."""
    folder = checkpoint.parent
    out = run_here(PUBLISH, checkpoint, 'net', '--out-dir', folder, *arguments)
    (entry,) = yaml.safe_load(out)
    (file,) = folder.glob('net-*.pth')
    assert entry.pop('Weights') == file.name
    return entry


def test_entry_of_a_published_net(tmp_path):
    file = save(tmp_path / 'epoch_6.pth', DetNASNet('detnas_fpn_300m'))
    entry = published_entry(file, '--path', 'detnas_fpn_300m')
    assert entry == {
        'Name': 'net',
        'In Collection': 'DetNAS',
        'Metadata': {
            'Search Space': 'small',
            'Shuffle': 'grouped',
            'Path': '2120 2112 33130031 3132',
            # Counted on the authors' network.
            'Backbone FLOPs': 288_082_368,
            'Backbone Parameters': 1_849_680,
        },
    }


def test_converted_supernet_knows_its_space(tmp_path):
    space = DETECTOR_SPACE
    net, meta = supernet(space), dict(search_space=space.to_dict(), path=None)
    metadata = published_entry(save(tmp_path / 'ours.pth', net, **meta))[
        'Metadata'
    ]
    assert metadata['Search Space']['stem_channels'] == space.stem_channels
    assert 'Path' not in metadata


def test_net_of_mmrazor_is_converted_and_its_blocks_counted(tmp_path):
    net = MMRazorBackbone(DETECTOR_SPACE, PATH)
    holder = nn.Module()
    holder.backbone = net
    torch.save(holder.state_dict(), tmp_path / 'theirs.pth')
    out = tmp_path / 'ours.pth'
    log = run_here(CONVERT, tmp_path / 'theirs.pth', out)
    assert 'path 012310, converted from mmrazor' in log
    metadata = published_entry(out)['Metadata']
    assert metadata['Search Space']['choices'][3] == 'even_xception'
    macs = count_macs(net, lambda: net(torch.zeros(1, 3, 224, 224)))
    assert metadata['Backbone FLOPs'] == macs
    # Our stem has a bias, too.
    params = count_params(net) + DETECTOR_SPACE.stem_channels
    assert metadata['Backbone Parameters'] == params


def test_weights_that_do_not_fit(tmp_path, tiny, refusal):
    config = CONFIGS / 'detnas/detnas-small_8xb128_in1k.py'
    ours = tmp_path / 'ours.pth'
    theirs = tmp_path / 'theirs.pkl'
    torch.save(AuthorsBackbone(DETECTOR_SPACE, PATH).state_dict(), theirs)
    line = refusal(CONVERT, theirs, ours, '--config', config)
    assert 'does not fit ImageClassifier: ' in line
    assert 'missing: neck.layers.0.weight' in line
    assert not ours.exists()
    cases = {
        'does not fit ImageClassifier': [
            *('--config', config, '--path', 'detnas_fpn_300m')
        ],
        'does not fit DetNASNet': [
            *('--path', '0000000001', '--search-space', 'tiny')
        ],
        'no folder nowhere': ['--out-dir', 'nowhere'],
    }
    for expected, options in cases.items():
        options = ['--out-dir', tmp_path, *options]
        assert expected in refusal(PUBLISH, tiny, 'net', *options)
    contents = {
        "no 'state_dict'": {},
        'no weights at all': {'state_dict': {}},
        "'backbone.', got a": {'state_dict': {'a': torch.zeros(3)}},
    }
    for expected, content in contents.items():
        torch.save(content, theirs)
        line = refusal(PUBLISH, theirs, 'net', '--out-dir', tmp_path)
        assert expected in line
    assert not list(tmp_path.glob('net-*'))
