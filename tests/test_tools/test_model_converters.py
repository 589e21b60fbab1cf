"""The command lines that convert and publish checkpoints."""

import pytest
import torch
from kit.command_lines import run_here
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
from kit.spaces import DETECTOR_SPACE

from detnas_mm.models import PUBLISHED_PATHS, load_state_dict
from detnas_mm.structures import SEARCH_SPACES

CONVERT = 'model_converters/convert_checkpoint.py'
SMALL = SEARCH_SPACES['small']


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
    net.fc.fc = torch.nn.Linear(1024, 1000)
    return net


def mmrazor_net():
    net = torch.nn.Module()
    net.backbone = MMRazorBackbone(DETECTOR_SPACE, (0, 1, 2, 3, 1, 0))
    return net


def convert(tmp_path, build, *arguments):
    """Converts a network by the tool; the tool must find that it fits."""
    with torch.device('meta'):
        net = build()
    state = {
        # Values do not matter here, and one of them needs no space.
        key: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for key, value in net.state_dict().items()
    }
    torch.save(state, tmp_path / 'theirs.pkl')
    out = tmp_path / 'ours.pth'
    log = run_here(CONVERT, tmp_path / 'theirs.pkl', out, *arguments)
    return torch.load(out, weights_only=True), log


def test_published_detector_fits_the_config(tmp_path):
    """The authors' DetNAS-COCO-FPN-300M, at its full size."""
    checkpoint, log = convert(
        tmp_path,
        lambda: faster_rcnn(authors_net('detnas_fpn_300m')),
        '--config',
        CONFIGS / 'detnas/faster-rcnn_detnas-small_fpn_1x_coco.py',
    )
    meta = checkpoint['meta']
    assert meta['path'] == '21202112331300313132'
    assert meta['search_space'] == SMALL.to_dict()
    assert meta['shuffle'] == 'interleaved'
    assert meta['converted_from'] == 'authors'
    assert "'search_space': 'small', 'path': '21202112331300313132'" in log
    assert load_state_dict(tmp_path / 'ours.pth').keys() == set(
        checkpoint['state_dict']
    )


def test_published_retinanet_fits_the_config(tmp_path):
    """Its FPN has no BN, and makes the sixth level of the fifth."""
    config = CONFIGS / 'detnas/retinanet_detnas-small_fpn_1x_coco.py'
    options = ['--config', config, '--cfg-options', 'model.neck.norm_cfg=None']
    options += ['model.neck.add_extra_convs=on_output']
    checkpoint, _ = convert(tmp_path, retinanet, *options)
    assert checkpoint['meta']['path'] == '23113213311133203333'


def test_supernet_fits_the_config_of_the_search(tmp_path):
    checkpoint, log = convert(
        tmp_path,
        lambda: faster_rcnn(AuthorsBackbone(SMALL)),
        '--config',
        CONFIGS / 'detnas/faster-rcnn_detnas-search-small_fpn_1x_coco.py',
    )
    assert checkpoint['meta']['path'] is None
    assert checkpoint['meta']['shuffle'] == 'grouped'
    assert 'supernet, converted from authors' in log


def test_imagenet_net_fits_the_config(tmp_path):
    checkpoint, _ = convert(
        tmp_path,
        imagenet_net,
        '--shuffle',
        'grouped',
        '--fold-stem-bias',
        '--config',
        CONFIGS / 'detnas/detnas-small_8xb128_in1k.py',
    )
    assert checkpoint['meta']['shuffle'] == 'grouped'
    assert checkpoint['state_dict']['backbone.stem.0.bias'].abs().max() == 0


def test_weights_that_do_not_fit_the_config(tmp_path, capsys):
    with pytest.raises(SystemExit):
        convert(
            tmp_path,
            lambda: authors_net('detnas_fpn_300m'),
            '--config',
            CONFIGS / 'detnas/detnas-small_8xb128_in1k.py',
        )
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert 'does not fit ImageClassifier: ' in error
    assert 'missing: neck.layers.0.weight' in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'ours.pth').exists()


def test_subnet_of_mmrazor(tmp_path):
    checkpoint, log = convert(tmp_path, mmrazor_net)
    assert checkpoint['meta']['search_space']['choices'][0].startswith('even')
    assert 'path 012310, converted from mmrazor' in log
