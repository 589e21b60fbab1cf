"""The page: complete, self-contained, and safe whatever a record says."""

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from kit.records import candidate
from kit.searches import synthetic_candidates, synthetic_search
from kit.spaces import DETECTOR_SPACE

from detnas_mm.structures import SearchSpace, pareto_front
from detnas_mm.visualization import Reference, write_report
from detnas_mm.visualization.report import settings_text, unlike, use_lines

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
    file = folder / 'report.html'
    files = write_report(searches, file)
    return file.read_text(), files


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
        else:
            assert file.read_bytes().startswith(b'\x89PNG')
    # For wide and for narrow windows.
    assert html.count('<svg') == 2 * len(names)


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


def test_ids_are_unique_and_references_have_a_target(html):
    ids = Page(html).values('id')
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', html)
    assert used
    assert set(used) <= set(ids)


def test_wide_tables_scroll_and_long_lines_wrap(html):
    """Nothing is cut in a narrow window; the eye is shown where to go on."""
    assert html.count('<table>') == html.count(
        '<div class="scroll" tabindex="0"><table>'
    )
    style = html[html.index('<style>') : html.index('</style>')]
    (scroll,) = re.findall(r'^\.scroll \{(.*?)\}', style, re.S | re.M)
    assert 'overflow-x: auto' in scroll
    assert 'var(--shade)' in scroll
    (pre,) = re.findall(r'^pre \{(.*?)\}', style, re.S | re.M)
    assert 'white-space: pre-wrap' in pre


def test_colours_follow_the_page_but_not_in_the_files(html, files):
    assert 'prefers-color-scheme: dark' in html
    assert 'stroke: var(--series-1)' in html
    drawings = [file for file in files if file.suffix == '.svg']
    assert not [file for file in drawings if 'var(' in file.read_text()]


def test_best_path_can_be_copied_and_pasted(html, search):
    copied = Page(html).values('data-text')
    best = max(search.candidates, key=lambda one: one.fitness)
    assert copied[0] == best.path
    scope = {}
    exec(copied[1], scope)
    backbone = scope['model']['backbone']
    assert backbone['type'] == 'detnas_mm.DetNASNet'
    space = SearchSpace(**backbone['search_space'])
    assert space == DETECTOR_SPACE
    assert space.format(space.parse(backbone['path'])) == best.path
    assert scope['model']['neck']['in_channels'] == [8, 12, 16, 24]


def test_images_are_pasted_as_the_supernet_got_them():
    """As its detector or, of a classifier, mmpretrain calls them."""
    inputs = dict(mean=[1.5, 2.0, 3.0], std=[4.0, 5.0, 6.0])
    expected = inputs | dict(bgr_to_rgb=True)
    for config in (
        dict(model=dict(data_preprocessor=expected | dict(pad_mask=True))),
        dict(model={}, data_preprocessor=inputs | dict(to_rgb=True)),
    ):
        assert pasted(config=json.dumps(config))['data_preprocessor'] == (
            expected
        )
    nothing = dict(mean=None, std=None, bgr_to_rgb=False)
    assert pasted(config='{}')['data_preprocessor'] == nothing
    assert 'data_preprocessor' not in pasted(config='no JSON')


@pytest.mark.parametrize('norm', [dict(type='GN', num_groups=2), None])
def test_normalisation_is_pasted_as_it_was(norm):
    config = dict(model=dict(backbone=dict(norm_cfg=norm)))
    backbone = pasted(config=json.dumps(config))['backbone']
    assert backbone.get('norm_cfg') == norm


def pasted(**header):
    """The model of the lines for a config."""
    search = synthetic_search(**header)
    scope = {}
    exec(use_lines(search, search.best), scope)
    return scope['model']


def test_paths_of_the_front_can_be_copied(html, search):
    copied = Page(html).values('data-text')
    front = pareto_front(search.candidates)
    assert [one.path for one in front] == copied[2 : 2 + len(front)]


def test_front_is_that_of_all_objectives(tmp_path):
    """Of three, where that of score and MACs is the last one alone."""
    small = ((0.1, 0.3), (0.2, 0.2), (0.3, 0.1))
    candidates = [
        replace(one, fitness=a, metrics={'ap_s': b}, macs=10 - index)
        for index, (one, (a, b)) in enumerate(
            zip(synthetic_candidates(), small, strict=False)
        )
    ]
    algorithm = dict(type='nsga2', minimise=['macs'], maximise=['ap_s'])
    search = synthetic_search(candidates=candidates, algorithm=algorithm)
    assert [one.macs for one in search.front] == [8, 9, 10]
    shown, _ = report(tmp_path, search)
    assert 'The Pareto front: 3' in shown
    assert '<details open>' in shown
    assert 'front/PATH.py' in shown
    assert shown.count('>ap_s</th>') == 2
    without = [replace(one, metrics={}) for one in candidates]
    with pytest.raises(ValueError, match='candidate 0 of .* lacks'):
        synthetic_search(candidates=without, algorithm=algorithm)


def test_settings_are_those_that_are_set():
    settings = dict(max_macs=3e8, min_macs=None, rest_macs=0, size=[8, 9])
    assert settings_text(settings) == 'max_macs 300M, size 8 9'


def test_latency_is_shown_where_there_is_one(html, tmp_path):
    assert '<th>latency' not in html
    fast = [replace(one, latency=1.234) for one in synthetic_candidates()[:1]]
    shown, _ = report(tmp_path, synthetic_search(candidates=fast))
    assert '>1.23 ms<' in shown


def test_time_is_shown_by_part_where_it_was_measured(html, tmp_path):
    assert 'calibration' not in html
    parts = dict(reading=0.5, calibration=3.0)
    timed = [
        replace(one, seconds=4.0, seconds_by_part=parts)
        for one in synthetic_candidates()
    ]
    shown, _ = report(tmp_path, synthetic_search(candidates=timed))
    chart = (tmp_path / 'report' / 'search1-time.svg').read_text()
    for label in ('reading 12%', 'calibration 75%', 'other 12%'):
        assert f'>{label}<' in chart
        assert f'>{label}<' in shown
    assert 'reading 0.5 s, calibration 3.0 s' in shown


@pytest.mark.filterwarnings('ignore:Glyph 1')
def test_hostile_text_stays_text(tmp_path):
    """Whatever it comes by: a record may be somebody else's."""
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


def test_published_networks_are_drawn_and_marked(tmp_path):
    path = (0, 1, 2, 3, 0, 1)
    search = synthetic_search(references=[Reference('theirs', path, 100_000)])
    html, files = report(tmp_path, search)
    assert 'theirs, 01 2 30 1' in html.replace('\n', ' ')
    assert 'theirs (its MACs)' in html
    assert tmp_path / 'report' / 'reference1.svg' in files


def test_bounds_of_the_search_are_drawn(tmp_path):
    bounds = dict(min_macs=None, max_macs=130_000, rest_macs=10_000)
    html, _ = report(tmp_path, synthetic_search(constraint=bounds))
    # What is left for the backbone, whose MACs the chart shows.
    assert 'bound of the search, 120k' in html


def test_two_searches_are_compared_in_one_chart(tmp_path):
    random = synthetic_search(
        'random', synthetic_candidates(seed=1), algorithm={'type': 'random'}
    )
    html, files = report(tmp_path, synthetic_search('evolved'), random)
    assert tmp_path / 'report' / 'comparison.png' in files
    chart = (tmp_path / 'report' / 'comparison.svg').read_text()
    assert '>evolved<' in chart
    assert '>random<' in chart
    assert len(files) == 1 + 2 * (1 + 2 * len(FIGURES))
    assert html.index('side by side') < html.index('<h2>evolved')


def test_what_differs_between_searches_is_said(tmp_path):
    """But for algorithm and seed, which one compares."""
    first = synthetic_search('first')
    assert unlike([first]) == ''
    assert unlike([first, synthetic_search(seed=9, algorithm={})]) == ''
    weights = synthetic_search('weights', checkpoint_digest='another')
    data = synthetic_search('data', config_digest='another', constraint={})
    text = (
        'bounds on the cost, checkpoint and config (data, model or evaluation)'
    )
    assert unlike([first, weights, data]) == text
    html, _ = report(tmp_path, first, weights)
    assert 'namely in checkpoint:' in ' '.join(html.split())
    # One that is not in the chart is not spoken of.
    waiting = synthetic_search('new', [], checkpoint_digest='another')
    html, _ = report(tmp_path, first, first, waiting)
    assert 'differ in more' not in html


def test_short_paths_stay_in_one_line(html, tmp_path):
    assert '<code class="short">' in html
    space = SearchSpace(4, (8, 12), (8, 8), ('shuffle_3x3', 'mine'))
    one = candidate(0, path='0' * 16)
    shown, _ = report(tmp_path, synthetic_search('x', [one], space=space))
    assert '<code>00000000 00000000</code>' in shown
    assert '<code class="short">' not in shown


def test_long_times_are_not_in_seconds(tmp_path):
    slow = [replace(one, seconds=1700.0) for one in synthetic_candidates()]
    report(tmp_path, synthetic_search(candidates=slow))
    chart = (tmp_path / 'report' / 'search1-time.svg').read_text()
    assert '>evaluation (min)<' in chart
    assert '>median 28 min 20 s<' in chart


def test_searches_for_different_metrics_are_not_compared(tmp_path):
    other = synthetic_search(metric='pascal_voc/mAP')
    with pytest.raises(ValueError, match='one metric only'):
        write_report([synthetic_search(), other], tmp_path / 'report.html')
    assert not (tmp_path / 'report.html').exists()


def test_search_that_just_started(tmp_path):
    html, files = report(tmp_path, synthetic_search(candidates=[]))
    assert 'No candidate has been evaluated yet' in html
    assert len(files) == 1


def test_search_that_has_not_ended_says_so(tmp_path):
    html, _ = report(tmp_path, synthetic_search(planned=30))
    assert '12 of 30</b> unfinished, so far in 3 gen' in ' '.join(html.split())
    html, _ = report(tmp_path, synthetic_search(planned=12))
    assert 'unfinished' not in html


def test_search_whose_candidates_all_failed(tmp_path):
    failed = synthetic_candidates(failed=range(12))
    html, _ = report(tmp_path, synthetic_search(candidates=failed))
    assert 'All 12 candidates so far failed' in html
    assert 'why 11' in html


def test_one_candidate_is_enough(tmp_path):
    only = synthetic_candidates()[:1]
    html, files = report(tmp_path, synthetic_search(candidates=only))
    assert len(files) == 1 + 2 * len(FIGURES)
    text = ' '.join(html.split())
    assert 'in 1 generation,' in text
    assert 'The Pareto front: 1 path,' in text
    assert '<h3>The best</h3>' in text
    failed = synthetic_candidates(failed=[0])[:1]
    html, _ = report(tmp_path, synthetic_search(candidates=failed))
    assert 'The one candidate so far failed' in html


def test_folder_of_the_page_must_exist(tmp_path):
    file = tmp_path / 'absent' / 'report.html'
    with pytest.raises(FileNotFoundError, match='no folder'):
        write_report([synthetic_search()], file)


def test_page_must_not_take_the_place_of_its_figures(tmp_path):
    with pytest.raises(ValueError, match=r'must end in \.html, got .*page'):
        write_report([synthetic_search()], tmp_path / 'page')
    assert not list(tmp_path.iterdir())
