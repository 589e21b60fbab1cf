"""The small command lines that read records and results, or draw nets."""

import json
import re
import runpy
from pathlib import Path

import pytest
from kit.command_lines import config_file, run_here
from kit.digits_runs import ROOT
from kit.latencies import latency_table
from kit.records import candidate, header
from mmengine.config import Config

from detnas_mm.cost import backbone_macs
from detnas_mm.structures import SEARCH_SPACES, SearchRecord

PICK = 'analysis_tools/pick_path.py'
COMPARE = 'analysis_tools/compare_nets.py'
MEAN = 'analysis_tools/mean_results.py'
REPORT = 'analysis_tools/search_report.py'
RANDOM_NETS = 'misc/random_nets.py'
PATHS = ('0000000000', '1111111111', '2222222222', '3333333333')


@pytest.fixture
def search(tmp_path):
    """Work dir of a search: three random paths, then a mutated one."""
    folder = tmp_path / 'search'
    folder.mkdir()
    first = header(
        search_space=SEARCH_SPACES['tiny'].to_dict(),
        metric='coco/bbox_mAP',
        constraint={'input_size': [224, 224]},
    )
    with SearchRecord.open(folder / 'search_record.jsonl', first) as record:
        for index, path in enumerate(PATHS):
            record.append(
                candidate(
                    index,
                    path=path,
                    fitness=[0.5, 0.1, 0.3, 0.9][index],
                    origin='mutation' if index == 3 else 'random',
                )
            )
    return folder


@pytest.fixture
def tested(tmp_path):
    """Writes the results of tests as tools/test.py leaves them."""

    def write(**nets):
        for name, result in nets.items():
            log = tmp_path / name / '20260101_000000'
            log.mkdir(parents=True)
            content = json.dumps({'coco/bbox_mAP': result, 'time': 1.0})
            (log / f'{log.name}.json').write_text(content)
        return [tmp_path / name for name in nets]

    return write


def test_picks_a_path(search):
    picked = {'best': PATHS[3], 'median': PATHS[2], 'median-random': PATHS[2]}
    for which, path in picked.items():
        assert run_here(PICK, search, which) == path + '\n'


def test_compares_search_and_test(
    search, tested, tmp_path, monkeypatch, refusal
):
    monkeypatch.setenv('COLUMNS', '120')
    nets = ['--search', search, '--net', 'found', PATHS[3]]
    printed = run_here(COMPARE, *nets, *tested(test=0.612))
    for part in ('found', '33 33 3333 33', '0.9000', '0.612'):
        assert part in printed
    table = tmp_path / 'table.json'
    space = SEARCH_SPACES['tiny']
    blocks = [[1.0, 1.0, 1.0, 1.2]] * space.num_blocks
    latency_table(space, blocks, runtime='openvino').save(table)
    printed = run_here(
        COMPARE, *nets, tmp_path / 'test', '--latency-table', table
    )
    assert 'predicted ms: openvino, Toy CPU, fp32' in printed
    assert '13.000' in printed
    nowhere = tmp_path / 'nowhere'
    assert str(nowhere) in refusal(COMPARE, *nets, nowhere)


@pytest.mark.slow
def test_measures_the_nets_that_it_compares(
    search, tested, tmp_path, monkeypatch, refusal
):
    """By a command that says how many bytes a file has."""
    pytest.importorskip('onnxscript')
    monkeypatch.setenv('COLUMNS', '160')
    folders = tested(a=0.6, b=0.5)
    nets = ['--net', 'a', PATHS[0], folders[0], '--net', 'b', PATHS[2]]
    command = [COMPARE, '--search', search, *nets, folders[1]]
    config = config_file('retinanet_detnas-supernet-tiny_fpn_digits')
    options = ['--config', config, '--runtime', 'command', '--rounds', 2]
    printed = run_here(
        *command,
        *(*options, '--shape', 32, 64, '--name', 'bytes'),
        *('--command', 'echo $(wc -c < {file}) ms'),
    )
    assert 'measured ms: bytes' in printed
    sizes = [
        float(line.split()[-2])
        for line in printed.splitlines()
        if line.startswith(('│ a', '│ b'))
    ]
    # Kernels of 7 instead of 3 pixels.
    assert 100_000 < sizes[0] < sizes[1]
    assert 'minimum of 2 rounds at 32x64' in printed
    assert 'need each other' in refusal(*command, *options[:2])


def test_mean_and_deviation(tested, refusal):
    """Of 0.35, 0.36 and 0.40: deviations -0.02, -0.01 and 0.03."""
    folders = tested(a=0.35, b=0.36, c=0.40)
    *nets, last = run_here(MEAN, 'coco/bbox_mAP', *folders).splitlines()
    assert nets == ['0.3500  a', '0.3600  b', '0.4000  c']
    # The square root of 0.0014 / 2.
    assert 'of 3 nets: 0.3700 ± 0.0265' in last
    assert 'at least 2 nets' in refusal(MEAN, 'coco/bbox_mAP', folders[0])


def test_makes_a_report_of_searches(search, tmp_path, refusal):
    """Of a running search, too: its last line may be half written."""
    record = search / 'search_record.jsonl'
    running = tmp_path / 'running'
    running.mkdir()
    (running / record.name).write_text(record.read_text()[:-20])
    printed = run_here(REPORT, record, running)
    page = search / 'report.html'
    assert f'{page}: open it' in printed
    assert '>33 33 3333 33<' in page.read_text()
    assert len(list((search / 'report').glob('*.png'))) == 11
    assert 'tools/search.py' in refusal(REPORT, tmp_path)


def test_report_compares_with_the_baselines_of_the_finalists(search):
    folder = search / 'finalists'
    folder.mkdir()
    names = ('search, 1', 'even', 'random', 'even')
    roles = dict(zip(PATHS, names, strict=True))
    (folder / 'nets.json').write_text(json.dumps(roles))
    first = SearchRecord.read(search).header
    with SearchRecord.open(folder / 'search_record.jsonl', first) as record:
        for index, path in enumerate(PATHS[:3]):
            record.append(candidate(index, path=path, fitness=0.25 + index))
    run_here(REPORT, search)
    page = (search / 'report.html').read_text()
    for text in ('even network, 1.2500', 'random network, 2.2500'):
        assert f'{text} when trained' in page
    # Not the found one, nor one whose training did not end.
    assert page.count('id="reference') == page.count('id="reference1') + (
        page.count('id="reference2')
    )
    assert 'network, 0.2500' not in page


def test_report_has_the_verdict_of_the_project(search, tmp_path):
    """Its page is linked from where the report is."""
    run_here(REPORT, search)
    assert 'Trained beside others' not in (search / 'report.html').read_text()
    sentence = 'found - even: +0.005 [-0.012, +0.021]: no difference shown'
    (tmp_path / 'verdict.json').write_text(
        json.dumps({'sentences': [sentence]})
    )
    (tmp_path / 'pages').mkdir()
    for page in (search / 'report.html', tmp_path / 'pages/other.html'):
        run_here(REPORT, search, '--out', page)
        text = page.read_text()
        assert f'<li>{sentence}</li>' in text
        assert 'href="../verdict.html"' in text


def test_report_knows_the_published_networks_of_the_space():
    tool = runpy.run_path(str(ROOT / 'tools' / REPORT), run_name='tool')
    size = {'input_size': [224, 224]}
    # MACs measured on the authors' networks.
    small = {
        'detnas_fpn_300m': 288_082_368,
        'detnas_retinanet_300m': 291_205_824,
    }
    for name, expected in (('small', small), ('tiny', {})):
        space = SEARCH_SPACES[name].to_dict()
        first = header(search_space=space, constraint=size)
        found = tool['published_references'](first)
        assert {net.name: net.macs for net in found} == expected


def draw(out, *options):
    """Draws nets; returns the printed paths by name."""
    lines = run_here(RANDOM_NETS, out, *options).splitlines()
    return {line.split()[0]: line.split()[1] for line in lines}


def test_random_nets_keep_the_constraint(tmp_path, refusal):
    nets = draw(tmp_path / 'nets')
    assert len(set(nets.values())) == len(nets) == 20
    space = SEARCH_SPACES['small']
    for name, path in nets.items():
        assert backbone_macs(space, space.parse(path)) <= 300e6
        # One word: --paths of a search takes it.
        config = (tmp_path / 'nets' / f'{name}_8xb128_in1k.py').read_text()
        assert re.search("path='([0-3]+)'", config)[1] == path
    few = draw(tmp_path / 'few', '--num', 20, '--seed', 0)
    assert few == nets != draw(tmp_path / 'other', '--seed', 1)
    out = tmp_path / 'none'
    assert 'no path keeps' in refusal(RANDOM_NETS, out, '--max-macs', 1e6)
    assert not out.exists()


def test_random_nets_have_the_configs_of_a_searched_net(tmp_path):
    out = tmp_path / 'nets'
    detectors = ('faster-rcnn', 'retinanet')
    nets = draw(
        out, '--num', 2, '--detectors', *detectors, '--data', 'voc0712'
    )
    name, path = 'random-small-01', nets['random-small-01']
    for detector in detectors:
        config = Config.fromfile(out / f'{detector}_{name}_fpn_1x_voc0712.py')
        known = Config.fromfile(
            ROOT / f'configs/detnas/{detector}_detnas-small_fpn_1x_voc0712.py'
        )
        assert config.model.backbone.path == path
        assert config.model.backbone.search_space == 'small'
        weights = Path(config.model.backbone.init_cfg.checkpoint)
        assert (out / f'{weights.parent.name}.py').is_file()
        for content in (config, known):
            del content.model.backbone
            for variable in ('pretrained', 'search'):
                content.pop(variable, None)
        assert config.to_dict() == known.to_dict()
