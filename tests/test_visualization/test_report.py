"""The page: complete, self-contained, and safe for any record."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from kit.records import candidate
from kit.searches import synthetic_candidates, synthetic_search
from kit.spaces import DETECTOR_SPACE

from detnas_mm.structures import ModelSummary, SearchSpace, pareto_front
from detnas_mm.utils.errors import InputError
from detnas_mm.visualization import Reference, write_report
from detnas_mm.visualization import report as report_module
from detnas_mm.visualization.report import (
    differing_settings,
    settings_text,
    use_lines,
)

HOSTILE = '<script>alert("1")</script>&\'$\\frac{$\x01'
FIGURES = ('architecture', 'progress', 'cost', 'choices', 'time')


class Page(HTMLParser):
    """All tags, attributes and text of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.text = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [a[name] for _, a in self.tags if name in a]


def report(folder, *searches):
    """The page with single spaces, and the files."""
    files = write_report(searches, folder / 'report.html')
    return ' '.join(files[0].read_text().split()), files


@pytest.fixture
def empty_png(monkeypatch):
    """The second files of figures, which take long, are empty."""
    monkeypatch.setattr(report_module, 'png', lambda figure: b'')


@pytest.fixture
def empty_figures(monkeypatch, empty_png):
    """Figures are drawn, but their files are empty."""
    monkeypatch.setattr(report_module, 'svg', lambda figure: '<svg></svg>')


@pytest.fixture(scope='module')
def search():
    return synthetic_search()


@pytest.fixture(scope='module')
def files(tmp_path_factory, search):
    return report(tmp_path_factory.mktemp('report'), search)[1]


@pytest.fixture(scope='module')
def html(files):
    return files[0].read_text()


def test_every_figure_is_in_the_page_and_a_file(html, files):
    names = {f'search1-{name}' for name in FIGURES}
    assert {file.stem for file in files[1:]} == names
    assert len(files) == 1 + 2 * len(names)
    for file in files[1:]:
        if file.suffix == '.svg':
            ElementTree.parse(file)
            # The colors of the page are for the page alone.
            assert 'var(' not in file.read_text()
        else:
            assert file.read_bytes().startswith(b'\x89PNG')
    # For wide and for narrow windows.
    assert html.count('<svg') == 2 * len(names)
    assert 'prefers-color-scheme: dark' in html
    assert 'stroke: var(--series-1)' in html


def test_page_needs_nothing_but_itself(html, files):
    page = Page(html)
    assert page.values('src') == []
    links = [
        link
        for link in [*page.values('href'), *page.values('xlink:href')]
        if not link.startswith(('#', 'data:'))
    ]
    assert {files[0].parent / link for link in links} == set(files[1:])
    assert not {'link', 'iframe', 'img'} & {tag for tag, _ in page.tags}


def pasted(lines):
    """The model in the lines that are to be pasted into a config."""
    scope = {}
    exec(lines, scope)
    return scope['model']


def test_paths_can_be_copied_and_pasted(html, search):
    copied = Page(html).values('data-text')
    best = max(search.candidates, key=lambda c: c.fitness)
    assert copied[0] == best.path
    model = pasted(copied[1])
    backbone = model['backbone']
    assert backbone['type'] == 'detnas_mm.DetNASNet'
    space = SearchSpace(**backbone['search_space'])
    assert space == DETECTOR_SPACE
    assert space.format(space.parse(backbone['path'])) == best.path
    assert model['neck']['in_channels'] == [8, 12, 16, 24]
    front = pareto_front(search.candidates)
    assert [c.path for c in front] == copied[2 : 2 + len(front)]


def test_settings_of_the_supernet_are_pasted():
    """By the names of mmdet or, for a classifier, of mmpretrain."""

    def model(config):
        if not isinstance(config, str):
            config = json.dumps(config)
        search = synthetic_search(config=config)
        return pasted(use_lines(search, search.best))

    inputs = dict(mean=[1.5, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    expected = inputs | dict(bgr_to_rgb=True)
    for config in (
        dict(model=dict(data_preprocessor=expected | dict(pad_mask=True))),
        dict(model={}, data_preprocessor=inputs | dict(to_rgb=True)),
    ):
        assert model(config)['data_preprocessor'] == expected
    nothing = dict(mean=None, std=None, bgr_to_rgb=False)
    assert model({})['data_preprocessor'] == nothing
    assert 'data_preprocessor' not in model('no JSON')
    for norm in (dict(type='GN', num_groups=2), None):
        config = dict(model=dict(backbone=dict(norm_cfg=norm)))
        assert model(config)['backbone'].get('norm_cfg') == norm


@pytest.mark.usefixtures('empty_figures')
def test_front_is_that_of_all_objectives(tmp_path):
    """It has three points; the front of score and MACs has one."""
    small = ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1))
    candidates = [
        replace(c, fitness=a, metrics={'ap_s': b}, macs=10 - c.index)
        for c, (a, b) in zip(synthetic_candidates(), small, strict=False)
    ]
    objectives = ['macs', 'ap_s']
    search = synthetic_search(candidates=candidates, objectives=objectives)
    assert [c.macs for c in search.front] == [8, 9, 10]
    shown, _ = report(tmp_path, search)
    assert 'The Pareto front: 3' in shown
    assert 'front/PATH.py' in shown
    assert shown.count('>ap_s</th>') == 2
    without = [replace(c, metrics={}) for c in candidates]
    with pytest.raises(InputError, match='candidate 0 of .* lacks'):
        synthetic_search(candidates=without, objectives=objectives)


@pytest.mark.usefixtures('empty_figures')
def test_given_and_predicted_candidates_are_named(tmp_path, html):
    bought = [
        replace(c, predicted=c.fitness + 0.125, predicted_std=0.25)
        if c.generation
        else c
        for c in synthetic_candidates()
    ]
    given = replace(bought[0], index=-1, generation=-1, origin='reused')
    shown, _ = report(
        tmp_path, synthetic_search(candidates=[given, *bought], patience=9)
    )
    assert '12</b> in 3 generations, 0 failed; 1 more were reused' in shown
    rows = shown[shown.index('Predicted and measured') :]
    assert rows.count('<td>1.00</td> <td>0.1250</td><td>0.2500</td>') == 2
    assert 'Predicted and measured' not in html


@pytest.mark.usefixtures('empty_figures')
def test_what_the_model_expects(tmp_path, html):
    assert 'What the model' not in html
    rows = [
        [[0.001 * block, 0.1], *[[0.0, 0.1]] * (len(choices) - 1)]
        for block, choices in enumerate(DETECTOR_SPACE.allowed_choices)
    ]
    rows[1][0] = [-0.5, 0.1]
    model = ModelSummary(candidates=12, gain=0.0125, effects=rows)
    search = replace(synthetic_search(), model=model)
    shown, _ = report(tmp_path, search)
    text = shown[shown.index('What the model') :]
    assert 'raises the best score by <b>0.0125</b> on average' in text
    names = re.findall(r'<td class="text">([0-9.]+)</td>', text)
    last = DETECTOR_SPACE.num_blocks - 1
    assert names[0] == DETECTOR_SPACE.block_name(1)
    assert names[1] == DETECTOR_SPACE.block_name(last)
    assert re.findall('class="sure">([^<]+)<', text) == ['-0.5000 ± 0.1000']


@pytest.mark.filterwarnings('ignore:Glyph 1')
@pytest.mark.usefixtures('empty_png')
def test_hostile_text_stays_text(tmp_path):
    """In each field, because a record may come from somebody else."""
    space = SearchSpace(4, (8, 12), (2, 1), (HOSTILE, HOSTILE * 2))
    fields = dict(
        path='010', metrics={HOSTILE: 0.1}, seconds_by_part={HOSTILE: 0.1}
    )
    candidates = [
        candidate(0, **fields),
        candidate(1, fitness=None, status='failed', error=HOSTILE, path='111'),
    ]
    search = synthetic_search(
        HOSTILE,
        candidates,
        [Reference(HOSTILE, (0, 0, 0), 1)],
        space=space,
        metric=HOSTILE,
        config=f'</code></pre>{HOSTILE}',
        checkpoint=HOSTILE,
        algorithm={'type': HOSTILE, HOSTILE: 1},
        constraint={HOSTILE: HOSTILE, 'input_size': [HOSTILE]},
        shuffle=HOSTILE,
    )
    html, files = report(tmp_path, search, search)
    page = Page(html)
    scripts = [tag for tag, _ in page.tags if tag == 'script']
    assert len(scripts) == 1  # our own
    assert not [a for _, a in page.tags if any(k[:2] == 'on' for k in a)]
    assert '<script>alert' not in html
    assert any('alert("1")' in text for text in page.text)
    for file in files[1:]:
        if file.suffix == '.svg':
            root = ElementTree.parse(file).getroot()
            assert not [e for e in root.iter() if e.tag.endswith('script')]


@pytest.mark.usefixtures('empty_png')
def test_page_shows_what_a_record_has(html, tmp_path):
    parts = dict(reading=212.5, calibration=1275.0)
    candidates = [
        replace(c, latency=1.234, seconds=1700.0, seconds_by_part=parts)
        for c in synthetic_candidates()
        if c.index != 2  # still running
    ]
    constraint = dict(min_macs=None, max_macs=130_000, rest_macs=10_000)
    constraint |= dict(
        max_latency=1.5,
        latency_runtime='openvino',
        latency_input_size=[800, 1344],
    )
    search = synthetic_search(
        candidates=candidates,
        references=[Reference('theirs', (0, 1, 2, 3, 0, 1), 100_000)],
        constraint=constraint,
        planned=30,
    )
    bounds = dict(max_macs=130_000, rest_macs=0, size=[8, 9])
    assert settings_text(bounds | dict(reuse=dict(candidates=3))) == (
        'max_macs 130k, size 8 9, reuse (candidates 3)'
    )
    shown, files = report(tmp_path, search)
    assert tmp_path / 'report' / 'reference1.svg' in files
    without = ' '.join(html.split())
    texts = (
        '11 of 30</b> unfinished, so far in 3 generations',
        '<th>latency</th>',
        '>1.23 ms<',
        '>ms of the backbone in openvino at 800 x 1344 px<',
        '>bound of the search, 1.5 ms<',
        'theirs, 01 2 30 1',
        'theirs (its MACs)',
        # The chart shows the MACs of the backbone alone.
        'bound of the search, 120k',
        '>evaluation (min)<',
        '>median 28 min 20 s<',
        '>reading 12%<',
        '>calibration 75%<',
        '>other 12%<',
        'reading 3 min 32 s, calibration 21 min 15 s',
    )
    assert [text for text in texts if text not in shown] == []
    assert [text for text in texts if text in without] == []


@pytest.mark.usefixtures('empty_png')
def test_two_searches_are_compared_in_one_chart(tmp_path):
    random = synthetic_search(
        'random',
        synthetic_candidates(seed=1),
        algorithm={'type': 'random'},
        checkpoint_digest='another',
    )
    html, files = report(tmp_path, synthetic_search('evolved'), random)
    assert tmp_path / 'report' / 'comparison.png' in files
    chart = (tmp_path / 'report' / 'comparison.svg').read_text()
    assert '>evolved<' in chart
    assert '>random<' in chart
    assert len(files) == 1 + 2 * (1 + 2 * len(FIGURES))
    assert html.index('side by side') < html.index('<h2>evolved')
    assert 'namely in checkpoint:' in html


def test_what_differs_except_algorithm_and_seed_is_named():
    first = synthetic_search('first')
    assert differing_settings([first]) == ''
    same = synthetic_search(seed=9, algorithm={})
    assert differing_settings([first, same]) == ''
    weights = synthetic_search('weights', checkpoint_digest='another')
    data = synthetic_search('data', config_digest='another', constraint={})
    text = (
        'bounds on the cost, checkpoint and config (data, model or evaluation)'
    )
    assert differing_settings([first, weights, data]) == text


def test_searches_for_different_metrics_are_not_compared(tmp_path):
    other = synthetic_search(metric='pascal_voc/mAP')
    with pytest.raises(InputError, match='one metric only'):
        write_report([synthetic_search(), other], tmp_path / 'report.html')
    assert not (tmp_path / 'report.html').exists()


def test_search_without_a_score_yet(tmp_path):
    html, files = report(tmp_path, synthetic_search(candidates=[]))
    assert 'No candidate has been evaluated yet' in html
    assert len(files) == 1
    failed = synthetic_candidates(failed=range(12))
    html, _ = report(tmp_path, synthetic_search(candidates=failed))
    assert 'All 12 candidates so far failed' in html
    assert 'why 11' in html


@pytest.mark.usefixtures('empty_figures')
def test_one_candidate_is_enough(tmp_path):
    only = synthetic_candidates()[:1]
    html, files = report(tmp_path, synthetic_search(candidates=only))
    assert len(files) == 1 + 2 * len(FIGURES)
    assert 'in 1 generation,' in html
    assert 'The Pareto front: 1 path,' in html
    assert '<h3>The best</h3>' in html
    failed = synthetic_candidates(failed=[0])[:1]
    html, _ = report(tmp_path, synthetic_search(candidates=failed))
    assert 'The one candidate so far failed' in html


def test_page_needs_a_folder_and_a_suffix(tmp_path):
    for file, message in (
        (tmp_path / 'absent' / 'report.html', 'no folder'),
        # The page would take the place of the folder of its figures.
        (tmp_path / 'page', r'must end in \.html, got .*page'),
    ):
        with pytest.raises(InputError, match=message):
            write_report([synthetic_search()], file)
    assert not list(tmp_path.iterdir())
