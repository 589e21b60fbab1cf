"""The command lines that convert and publish checkpoints."""

import hashlib

import pytest
import torch
import yaml
from command_lines import run_here
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


PUBLISH = 'model_converters/publish_model.py'


@pytest.fixture
def trained(tmp_path):
    """A checkpoint as a training leaves it."""
    file = tmp_path / 'epoch_6.pth'
    weights = {'backbone.stem.0.bias': torch.arange(3.0)}
    meta = dict(
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


def test_published_checkpoint_is_stripped_and_named(tmp_path, trained):
    out = run_here(PUBLISH, trained, 'my_net', '--out-dir', tmp_path)
    (file,) = tmp_path.glob('my_net-*.pth')
    assert out == f'{file}\n'
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'my_net-{digest[:8]}.pth'
    content = torch.load(file, weights_only=True)
    assert content['meta'] == dict(
        epoch=6, dataset_meta=dict(classes=('cat', 'dog'))
    )
    assert content.keys() == {'meta', 'state_dict'}
    assert torch.equal(
        content['state_dict']['backbone.stem.0.bias'], torch.arange(3.0)
    )
    assert b'secret' not in file.read_bytes()
    # The same weights have the same name, others another.
    run_here(PUBLISH, trained, 'my_net', '--out-dir', tmp_path)
    assert list(tmp_path.glob('my_net-*.pth')) == [file]
    changed = torch.load(trained)
    changed['state_dict']['backbone.stem.0.bias'][0] = 1
    torch.save(changed, trained)
    run_here(PUBLISH, trained, 'my_net', '--out-dir', tmp_path)
    assert len(list(tmp_path.glob('my_net-*.pth'))) == 2


def publish_with_entry(tmp_path, checkpoint, name, *arguments):
    metafile = tmp_path / 'metafile.yml'
    run_here(
        PUBLISH, checkpoint, name, '--out-dir', tmp_path, '--metafile',
        metafile, *arguments,
    )  # fmt: skip
    return yaml.safe_load(metafile.read_text())['Models']


def test_metafile_entry(tmp_path, trained):
    (entry,) = publish_with_entry(
        tmp_path, trained, 'my_net', '--path', 'detnas_fpn_300m',
        '--config', 'configs/detnas/x.py', '--metrics', 'box AP=36.6', 'b=1',
    )  # fmt: skip
    (file,) = tmp_path.glob('my_net-*.pth')
    assert entry == {
        'Name': 'my_net',
        'In Collection': 'DetNAS',
        'Config': 'configs/detnas/x.py',
        'Metadata': {
            'Search Space': 'small',
            'Shuffle': 'grouped',
            'Path': '2120 2112 33130031 3132',
            # Counted on the authors' network.
            'MACs (backbone, 224x224)': 288_082_368,
            'Parameters (backbone)': 1_849_680,
        },
        'Results': [
            {
                'Task': 'Object Detection',
                'Dataset': 'COCO',
                'Metrics': {'box AP': 36.6, 'b': 1.0},
            }
        ],
        'Weights': file.name,
    }


def test_entry_of_that_name_is_replaced(tmp_path, trained):
    metafile = tmp_path / 'metafile.yml'
    metafile.write_text(
        'Collections:\n- Name: DetNAS\nModels:\n- Name: a\n- Name: b\n'
    )
    options = ['--path', '0000000000', '--search-space', 'tiny']
    models = publish_with_entry(tmp_path, trained, 'a', *options)
    assert [model['Name'] for model in models] == ['a', 'b']
    assert models[0]['Metadata']['Path'] == '00 00 0000 00'
    models = publish_with_entry(tmp_path, trained, 'c', *options)
    assert [model['Name'] for model in models] == ['a', 'b', 'c']
    content = yaml.safe_load(metafile.read_text())
    assert content['Collections'] == [{'Name': 'DetNAS'}]


def test_converted_checkpoint_says_what_it_is(tmp_path):
    convert(tmp_path, mmrazor_net)
    (entry,) = publish_with_entry(tmp_path, tmp_path / 'ours.pth', 'razor')
    metadata = entry['Metadata']
    assert metadata['Path'] == '01 2 31 0'
    assert metadata['Search Space']['choices'][3] == 'even_xception'
    net = MMRazorBackbone(DETECTOR_SPACE, (0, 1, 2, 3, 1, 0))
    macs = count_macs(net, lambda: net(torch.zeros(1, 3, 224, 224)))
    assert metadata['MACs (backbone, 224x224)'] == macs
    # Our stem has a bias besides.
    params = count_params(net) + DETECTOR_SPACE.stem_channels
    assert metadata['Parameters (backbone)'] == params
    assert 'Results' not in entry


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--metrics', 'box AP'], 'NAME=NUMBER'),
        (['--metafile', 'm.yml'], '--path'),
        (['--metafile', 'm.yml', '--path', '012'], 'search_space'),
        (['--out-dir', 'nowhere'], 'no folder nowhere'),
    ],
)
def test_bad_options_are_named(
    tmp_path, trained, monkeypatch, capsys, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit):
        run_here(PUBLISH, trained, 'my_net', *arguments)
    error = capsys.readouterr().err
    assert expected in error
    assert error.count('\n') == 1
    assert sorted(tmp_path.iterdir()) == before
