"""Parts of a supernet: each shape once, whole backbones, and their table."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from kit.command_lines import run_here
from kit.digits_runs import ROOT
from kit.models import supernet
from kit.spaces import ELASTIC

from detnas_mm.cost import LatencyTable
from detnas_mm.models.export import quantize_onnx
from detnas_mm.structures import SearchSpace
from detnas_mm.utils.errors import InputError

onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
TOOLS = ROOT / 'tools' / 'analysis_tools'
MANIFEST = 'manifest.json'
# 8 paths; the last two blocks have one shape.
SPACE = SearchSpace(4, (8, 12), (2, 3), ('shuffle_3x3', 'skip'))
SIZE = (32, 48)


@pytest.fixture(scope='module')
def tool():
    """The module beside the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module('latency_blocks')


@pytest.fixture(scope='module')
def net():
    net = supernet(SPACE, out_indices=(0, 1))
    # Blocks of one shape are one file.
    net.blocks[4].load_state_dict(net.blocks[3].state_dict())
    return net.eval()


@pytest.fixture(scope='module')
def folder(tool, net, tmp_path_factory):
    folder = tmp_path_factory.mktemp('latency') / 'parts'
    parts = tool.collect_parts(net, net, torch.rand(1, 3, *SIZE), num_nets=6)
    tool.export_parts(parts, net, folder, is_int8=False)
    return folder


def run_file(file, image):
    session = onnxruntime.InferenceSession(file)
    return session.run(None, {'input0': image.numpy()})


def test_each_shape_is_one_file(folder):
    manifest = json.loads((folder / MANIFEST).read_text())
    first, second, third, *last = manifest['blocks']
    assert first == ['block_0_0.onnx'] * 2  # it has no other choice
    assert second == ['block_1_0.onnx', None]  # nothing runs
    assert third == ['block_2_0.onnx'] * 2
    assert last == [['block_3_0.onnx', None]] * 2
    assert len(manifest['files']) == 5 + 6
    assert {file.name for file in folder.iterdir()} == {
        *(MANIFEST, *manifest['files'])
    }
    # There are neither neck nor heads, which the toy lacks.
    assert manifest['rest'] is None


def test_a_folder_is_of_one_detector(tool, net):
    images = torch.rand(1, 3, *SIZE)
    model = torch.nn.Module()
    model.backbone = net
    manifests = []
    for classes in (1, 2, 2):
        model.head = torch.nn.Linear(4, classes)
        parts = tool.collect_parts(model, net, images, num_nets=4)
        manifests.append(json.dumps(parts.manifest))
    # Its digest decides which times fit.
    assert manifests[0] != manifests[1] == manifests[2]


def test_glued_backbones_compute_what_the_supernet_does(folder, net):
    image = torch.rand(1, 3, *SIZE)
    for item in json.loads((folder / MANIFEST).read_text())['nets']:
        outputs = run_file(folder / item['file'], image)
        with torch.no_grad(), net.activate(item['path']):
            expected = net(image)
        for pair in zip(expected, outputs, strict=True):
            torch.testing.assert_close(
                pair[0], torch.from_numpy(pair[1]), rtol=1e-5, atol=1e-5
            )


def test_blocks_in_8_bits(folder, tmp_path):
    source, file = folder / 'block_3_0.onnx', tmp_path / 'int8.onnx'
    rng = np.random.default_rng(0)
    feed = {'input0': rng.random((1, 12, 4, 6), np.float32)}
    quantize_onnx(source, file, [feed] * 2)
    assert b'QuantizeLinear' in file.read_bytes()
    assert b'QuantizeLinear' not in source.read_bytes()
    (exact,), (rough,) = (
        onnxruntime.InferenceSession(path).run(None, feed)
        for path in (source, file)
    )
    assert 0 < np.abs(exact - rough).mean() < 0.05 * np.abs(exact).max()


def test_the_example_of_ncnn(folder, tmp_path):
    pytest.importorskip('ncnn')
    pytest.importorskip('pnnx')
    file = tmp_path / 'block.onnx'
    file.write_bytes((folder / 'block_3_0.onnx').read_bytes())
    example = str(ROOT / 'docs/examples/ncnn_latency.py')
    environment = os.environ | dict(
        PATH=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    )
    for _ in range(2):
        printed = subprocess.run(
            [sys.executable, example, str(file)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        # What --pattern looks for.
        assert float(re.findall(r'([\d.]+)\s*ms', printed)[-1]) > 0
    # The second run has nothing to convert.
    assert len(printed.splitlines()) == 1


def test_the_halves_of_a_table(folder, tmp_path):
    """Measured in ONNX Runtime, and by a command that prints the ms."""
    measure = TOOLS / 'run_latency.py'
    times, table = tmp_path / 'times.json', tmp_path / 'table.json'
    script = tmp_path / 'runtime.py'
    # Blocks take 2 ms, whole backbones as much as their MACs say.
    script.write_text(
        'import json, pathlib, sys\n'
        'file = pathlib.Path(sys.argv[1])\n'
        f'content = (file.parent / {MANIFEST!r}).read_text()\n'
        'nets = json.loads(content)["nets"]\n'
        'macs = {net["file"]: net["macs"] for net in nets}\n'
        'ms = macs[file.name] / 1e4 if file.name in macs else 2\n'
        'print(f"warm-up 99 ms, minimum {ms} ms")\n'
    )
    command = f'{sys.executable} {script} {{file}}'
    for options, runtime in (
        (('--runtime', 'onnxruntime'), 'onnxruntime'),
        (('--runtime', 'command', '--command', command, '--name', 'my'), 'my'),
    ):
        run_here(measure, folder, times, '--rounds', 2, *options)
        printed = run_here(
            TOOLS / 'measure_latency.py', 'table', folder, times, table
        )
        read = LatencyTable.load(table)
        assert (read.runtime, read.rounds) == (runtime, 2)
        assert read.search_space == SPACE
        is_command = runtime == 'my'
        assert ('CPUExecutionProvider' in read.software) != is_command
        assert read.stem > 0 == read.blocks[1][1]
        assert f'ms in {runtime} at 32x48' in printed
    assert read.blocks[1] == (2.0, 0.0)
    assert read.check['macs_kendall'] == read.check['repeat_kendall'] == 1


def test_wrong_input_is_refused(tool, folder, net, tmp_path, refusal):
    parts = tool.Parts()
    with pytest.raises(InputError, match='is not empty'):
        tool.export_parts(parts, net, folder, is_int8=False)
    measure, out = TOOLS / 'run_latency.py', tmp_path / 'times.json'
    broken = tmp_path / 'broken'
    broken.mkdir()
    manifest = json.loads((folder / MANIFEST).read_text())
    (broken / MANIFEST).write_text(
        json.dumps(manifest | {'files': ['lost.onnx']})
    )
    odd = tmp_path / 'odd'
    odd.mkdir()
    (odd / 'odd.onnx').write_bytes(b'no model')
    (odd / MANIFEST).write_text(json.dumps(manifest | {'files': ['odd.onnx']}))
    other = tmp_path / 'other'
    other.mkdir()
    (other / MANIFEST).write_text('{"name": "of another program"}')
    silent = ('--runtime', 'command', '--command', 'echo {file}')
    for expected, place, options in (
        ('has no manifest.json', tmp_path, ()),
        ('lacks lost.onnx', broken, ()),
        ('is not the manifest', other, ()),
        ('onnxruntime cannot run', odd, ()),
        ('needs --command with {file}', folder, ('--runtime', 'command')),
        ('0 matches of --pattern', folder, silent),
        ('needs a group', folder, (*silent, '--pattern', 'ms')),
        ('unterminated', folder, (*silent, '--pattern', '(')),
        ('--rounds must be at least 2', folder, ('--rounds', 1)),
        ('has no TestProvider', folder, ('--provider', 'TestProvider')),
    ):
        assert expected in refusal(measure, place, out, *options)
    assert not out.exists()


# Paths of the space of the kit; its last blocks may be skipped.
PATHS = ['00000', '01011', '11100', '02022', '12102', '10010', '00122']
# ms of a file: the stem, the digits of both kinds of blocks, neck and heads.
BLOCK_MS = {
    'stem': 1.0,
    'a0': 2.0,
    'a1': 3.5,
    'b0': 0.7,
    'b1': 1.1,
    'rest': 9.0,
}


def blocks():
    first = ['a0', 'a1', 'a0']
    return [first, ['b0', 'b1', None], first, *[['b0', 'b1', None]] * 2]


def latency(path, factor=1.0):
    rows = zip(blocks(), path, strict=True)
    names = ['stem', *(row[int(digit)] for row, digit in rows)]
    return factor * sum(BLOCK_MS[name] for name in names if name)


def manifest(**changes):
    nets = [
        dict(file=f'net{i}', path=path, macs=i + 1, is_uneven=i % 2 == 1)
        for i, path in enumerate(PATHS)
    ]
    files = [*BLOCK_MS, *(net['file'] for net in nets)]
    content = dict(
        search_space=ELASTIC.to_dict(), shuffle='grouped', input_size=[64, 96],
        batch_size=1, precision='fp32', stem='stem', blocks=blocks(),
        nets=nets, rest='rest', files=files, digest='abc',
    )  # fmt: skip
    return content | changes


def times(factor=1.2, **changes):
    least = BLOCK_MS | {
        f'net{i}': latency(path, factor) for i, path in enumerate(PATHS)
    }
    content = dict(
        folder='abc', rounds=3, runtime='onnxruntime', software='1.2.3',
        provider='CPUExecutionProvider', precision='fp32', threads=2,
        device='Toy CPU',
        times={name: [2 * ms, ms, 3 * ms] for name, ms in least.items()},
    )  # fmt: skip
    return content | changes


@pytest.fixture
def build(tool, tmp_path):
    def run(manifest, times):
        (tmp_path / MANIFEST).write_text(json.dumps(manifest))
        file = tmp_path / 'times.json'
        file.write_text(json.dumps(times))
        return tool.build_table(*tool.read_times(tmp_path, file))

    return run


def test_minima_are_added_and_scaled(build, tmp_path):
    table = build(manifest(), times())
    assert table.scale == pytest.approx(1.2)
    for path in PATHS:
        digits = tuple(map(int, path))
        expected = latency(path, 1.2)
        assert table.latency(digits) == pytest.approx(expected, abs=1e-5)
    assert (table.runtime, table.statistic) == ('onnxruntime', 'minimum')
    assert (table.rest, table.precision) == (9.0, 'fp32')
    # A skipped block takes no time.
    assert table.blocks[1] == (0.7, 1.1, 0.0)
    assert table.check['kendall'] == 1
    assert table.check['paths'] == len(PATHS)
    table.save(tmp_path / 'table.json')
    assert LatencyTable.load(tmp_path / 'table.json') == table


def test_noisy_measurements_are_named(build, capsys, tool):
    print_check = importlib.import_module('measure_latency').print_check
    noisy = times()
    for index in range(len(PATHS)):
        # Every other round ranks the backbones backwards.
        noisy['times'][f'net{index}'] = [50.0 - index, 40.0 + index] * 2
    for content, is_noisy in ((times(), False), (noisy, True)):
        print_check(build(manifest(), content))
        printed = ' '.join(capsys.readouterr().out.split())
        assert ('hardly repeats itself' in printed) == is_noisy


def test_neck_and_heads_may_be_left_out(build):
    content = times(without_rest=True)
    del content['times']['rest']
    assert build(manifest(), content).rest is None


def test_precision_is_of_the_files_or_of_the_runtime(build):
    assert build(manifest(precision='int8'), times()).precision == 'int8'
    assert build(manifest(), times(precision='bf16')).precision == 'bf16'
    assert build(manifest(), times(precision='')).precision == 'fp32'


def test_wrong_times_are_named(build):
    def changed(name, values):
        content = times()
        content['times'][name] = values
        return content

    missing = times()
    del missing['times']['a1']
    for content, expected in (
        (times(folder='other'), 'measured with another folder'),
        (missing, 'times of 1 of 13 files are missing, such as a1'),
        (changed('b0', [1.0, 0.0, 2.0]), 'times of b0 are not at least 2'),
        (changed('b0', [1.0, -1.0, 2.0]), 'b0.*positive'),
        (changed('b0', [1.0]), 'at least 2'),
        (changed('b0', 3.0), 'times of b0 are not at least 2'),
        (changed('b0', [1.0, None, 2.0]), 'b0.*positive'),
        ([], 'is not a file of times'),
        (dict(folder='abc'), "it lacks 'times'"),
    ):
        with pytest.raises(InputError, match=expected) as error:
            build(manifest(), content)
        assert '\n' not in str(error.value)
