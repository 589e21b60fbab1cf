"""The command line that publishes a checkpoint, and its metafile entry."""

import hashlib
import shutil

import modelindex
import pytest
import torch
import yaml
from kit.command_lines import run_here
from kit.counting import count_macs, count_params
from kit.digits_runs import CONFIGS, ROOT
from kit.foreign import MMRazorBackbone
from kit.models import searched, supernet
from kit.spaces import DETECTOR_SPACE
from torch import nn

from detnas_mm.models import DetNASNet

PUBLISH = 'model_converters/publish_model.py'
FPN_300M = '21202112331300313132'
FASTER_RCNN = 'faster-rcnn_detnas-fpn-300m_fpn_1x_coco'
PATH = (0, 1, 2, 3, 1, 0)


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
def trained(tmp_path):
    return save(tmp_path / 'epoch_6.pth', DetNASNet('detnas_fpn_300m'))


@pytest.fixture
def tiny(tmp_path):
    return save(tmp_path / 'tiny.pth', searched('tiny', '0000000000'))


@pytest.fixture
def error_line(capsys):
    """Publishes what must be refused; returns the one line that says why."""

    def fail(*arguments):
        with pytest.raises(SystemExit) as error:
            run_here(PUBLISH, *arguments)
        assert error.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return fail


def test_published_checkpoint_is_stripped_and_named(tmp_path, tiny):
    out = run_here(PUBLISH, tiny, 'my_net', '--out-dir', tmp_path)
    (file,) = tmp_path.glob('my_net-*.pth')
    assert out == f'{file}\n'
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f'my_net-{digest[:8]}.pth'
    content = torch.load(file, weights_only=True)
    assert content['meta'] == dict(
        epoch=6, dataset_meta=dict(classes=('cat', 'dog'))
    )
    assert content.keys() == {'meta', 'state_dict'}
    assert torch.equal(content['state_dict']['head.weight'], torch.ones(3))
    assert b'secret' not in file.read_bytes()
    # The same weights have the same name, others another.
    run_here(PUBLISH, tiny, 'my_net', '--out-dir', tmp_path)
    assert list(tmp_path.glob('my_net-*.pth')) == [file]
    changed = torch.load(tiny)
    changed['state_dict']['head.weight'][0] = 2
    torch.save(changed, tiny)
    run_here(PUBLISH, tiny, 'my_net', '--out-dir', tmp_path)
    assert len(list(tmp_path.glob('my_net-*.pth'))) == 2


def publish_with_entry(metafile, checkpoint, name, *arguments):
    out_dir = checkpoint.parent
    run_here(
        PUBLISH, checkpoint, name, '--out-dir', out_dir, '--metafile',
        metafile, *arguments,
    )  # fmt: skip
    models = yaml.safe_load(metafile.read_text())['Models']
    (entry,) = (model for model in models if model['Name'] == name)
    (file,) = out_dir.glob(f'{name}-*.pth')
    assert entry['Weights'] == file.name
    return entry


def test_entry_of_a_new_metafile(tmp_path, trained):
    metafile = tmp_path / 'metafile.yml'
    entry = publish_with_entry(
        metafile, trained, 'my_net', '--path', 'detnas_fpn_300m',
        '--collection', 'Mine', '--metrics', 'box AP=36.6', 'b=1',
    )  # fmt: skip
    del entry['Weights']
    assert entry == {
        'Name': 'my_net',
        'In Collection': 'Mine',
        'Metadata': {
            'Search Space': 'small',
            'Shuffle': 'grouped',
            'Path': '2120 2112 33130031 3132',
            # Counted on the authors' network.
            'Backbone FLOPs': 288_082_368,
            'Backbone Parameters': 1_849_680,
            'Source of Results': 'measured',
        },
        'Results': [
            {
                'Task': 'Object Detection',
                'Dataset': 'COCO',
                'Metrics': {'box AP': 36.6, 'b': 1.0},
            }
        ],
    }
    index = modelindex.load(str(metafile))
    index.check(silent=True)
    assert not index.check_errors
    assert [one.name for one in index.collections] == ['Mine']


def changed_lines(before, after):
    """What a diff of two texts would show as taken away, and as added."""
    before, after = before.splitlines(), after.splitlines()
    return (
        [line.strip() for line in before if line not in after],
        [line.strip() for line in after if line not in before],
    )


def test_entry_of_that_name_keeps_all_else(tmp_path, trained):
    """The real metafile, with comments, widths and other nets."""
    metafile = tmp_path / 'metafile.yml'
    shutil.copy(CONFIGS / 'detnas/metafile.yml', metafile)
    before = metafile.read_text()
    entry = publish_with_entry(
        metafile, trained, FASTER_RCNN, '--path', 'detnas_fpn_300m',
        '--metrics', 'box AP=36.4',
    )  # fmt: skip
    removed, added = changed_lines(before, metafile.read_text())
    # The paper's Table 3 is also that of another net.
    assert removed == []
    assert added == [
        "Source of Results: 'measured; those named (paper): paper, Table 3'",
        'Search Space: small',
        'Shuffle: grouped',
        'Path: 2120 2112 33130031 3132',
        'box AP: 36.4',
        f'Weights: {entry["Weights"]}',
    ]  # fmt: skip
    assert entry['Config'] == f'configs/detnas/{FASTER_RCNN}.py'
    assert entry['Metadata']['Iterations'] == 90000
    (result,) = entry['Results']
    assert result['Metrics'] == {'box AP (paper)': 36.6, 'box AP': 36.4}


METAFILE = """\
# The first words.
Collections:
- Name: Mine  # of all
Models:
- Name: a  # the first
  README: |
    Of a.

# Before b.
-   Name: b
    Metadata:
        Iterations: 3  # few
# The last words.
"""


def test_entries_are_added_behind_the_last(tmp_path, tiny):
    metafile = tmp_path / 'metafile.yml'
    metafile.write_text(METAFILE)
    options = ['--path', '0000000000', '--search-space', 'tiny']
    entry = publish_with_entry(metafile, tiny, 'c', *options)
    assert entry['In Collection'] == 'Mine'
    text = metafile.read_text()
    beginning, end = METAFILE.split('# The last')
    assert text.startswith(beginning.rstrip())
    assert text.endswith(f'# The last{end}')
    entry = publish_with_entry(metafile, tiny, 'a', *options)
    assert entry['README'] == 'Of a.\n'
    entry = publish_with_entry(metafile, tiny, 'b', *options)
    assert entry['Metadata']['Iterations'] == 3
    assert entry['Metadata']['Path'] == '00 00 0000 00'
    text = metafile.read_text()
    for comment in ('The first words', 'of all', 'Before b.', 'The last'):
        assert f'# {comment}' in text
    models = yaml.safe_load(text)['Models']
    assert [model['Name'] for model in models] == ['a', 'b', 'c']


@pytest.mark.parametrize(
    ('text', 'options', 'expected'),
    [
        ('Models: [{Name: a}]', (), 'not in brackets'),
        ('Models: 3', (), 'a list of `Models`'),
        ('Models:\n- a', (), 'a list of `Models`'),
        ('Models:\n- {', (), 'is no YAML'),
        (METAFILE, ('--collection', 'X'), "no collection 'X', but Mine"),
    ],
)
def test_other_metafiles_are_refused(
    tmp_path, tiny, error_line, text, options, expected
):
    metafile = tmp_path / 'metafile.yml'
    metafile.write_text(text)
    line = error_line(
        tiny, 'net', '--out-dir', tmp_path, '--metafile', metafile,
        '--path', '0000000000', '--search-space', 'tiny', *options,
    )  # fmt: skip
    assert expected in line
    assert metafile.read_text() == text


@pytest.mark.parametrize('path', [PATH, None])
def test_converted_checkpoint_says_what_it_is(tmp_path, path):
    space = DETECTOR_SPACE
    net = searched(space, path) if path else supernet(space)
    digits = ''.join(map(str, path)) if path else None
    file = save(
        tmp_path / 'ours.pth', net, search_space=space.to_dict(), path=digits
    )
    entry = publish_with_entry(tmp_path / 'metafile.yml', file, 'net')
    metadata = entry['Metadata']
    assert metadata['Search Space']['stem_channels'] == space.stem_channels
    assert metadata.get('Path') == ('01 2 31 0' if path else None)
    assert 'Results' not in entry


def test_costs_of_registered_blocks_are_counted(tmp_path):
    net = MMRazorBackbone(DETECTOR_SPACE, PATH)
    holder = nn.Module()
    holder.backbone = net
    torch.save(holder.state_dict(), tmp_path / 'theirs.pth')
    out = tmp_path / 'ours.pth'
    run_here(
        'model_converters/convert_checkpoint.py', tmp_path / 'theirs.pth', out
    )
    entry = publish_with_entry(tmp_path / 'metafile.yml', out, 'razor')
    metadata = entry['Metadata']
    assert metadata['Search Space']['choices'][3] == 'even_xception'
    macs = count_macs(net, lambda: net(torch.zeros(1, 3, 224, 224)))
    assert metadata['Backbone FLOPs'] == macs
    # Our stem has a bias besides.
    params = count_params(net) + DETECTOR_SPACE.stem_channels
    assert metadata['Backbone Parameters'] == params


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--metrics', 'box AP'], 'NAME=NUMBER'),
        (['--metafile', 'm.yml'], '--path'),
        (['--metafile', 'm.yml', '--path', '012'], 'search_space'),
        (['--out-dir', 'nowhere'], 'no folder nowhere'),
        (['--config', 'no/config.py'], 'no config at no/config.py'),
        (
            ['--config', ROOT / 'configs/detnas/detnas-small_8xb128_in1k.py',
             '--path', 'detnas_fpn_300m'],
            'does not fit ImageClassifier',
        ),
        (
            ['--path', '0' * 20, '--search-space', 'small'],
            'does not fit DetNASNet',
        ),
        (
            ['--path', '0' * 19 + '1', '--search-space', 'small'],
            'does not fit DetNASNet',
        ),
    ],
)  # fmt: skip
def test_bad_options_are_named(
    tmp_path, trained, monkeypatch, error_line, arguments, expected
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert expected in error_line(trained, 'my_net', *arguments)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        ({}, "no 'state_dict'"),
        ({'state_dict': {}}, 'no weights at all'),
        ({'state_dict': {'a': torch.zeros(3)}}, "'backbone.', got a"),
        ({'state_dict': {'backbone.a': 3}}, "'backbone.a' is a int"),
        ({'state_dict': 3}, "'state_dict' is a int"),
    ],
)
def test_what_holds_no_weights_is_refused(
    tmp_path, error_line, content, expected
):
    file = tmp_path / 'foreign.pth'
    torch.save(content, file)
    line = error_line(file, 'net', '--out-dir', tmp_path)
    assert expected in line
    assert list(tmp_path.iterdir()) == [file]
