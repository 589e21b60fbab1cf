"""What a search logs: a line for each candidate, numbers for charts."""

import errno
import json
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest
from kit.records import candidate
from kit.spaces import DETECTOR_SPACE
from mmengine.visualization import Visualizer

from detnas_mm.engine.search.progress import SearchProgress
from detnas_mm.structures import best_candidate

CANDIDATES = [
    candidate(index, generation=index // 2, path='012301', **fields)
    for index, fields in enumerate(
        [
            dict(fitness=0.2),
            dict(fitness=0.1),
            dict(fitness=None, status='failed', error='lost'),
            dict(fitness=0.4, seconds_by_part={'reading': 0.125}),
        ]
    )
]


@pytest.fixture
def visualizer(tmp_path):
    """A visualizer that writes JSON lines."""
    backends = [dict(type='LocalVisBackend')]
    return Visualizer(save_dir=str(tmp_path), vis_backends=backends)


def report(visualizer, candidates):
    """Reports candidates of generations of two."""
    progress = SearchProgress(
        SimpleNamespace(
            logger=logging.getLogger('search'),
            visualizer=visualizer,
            work_dir='work',
        ),
        DETECTOR_SPACE,
        metric='coco/bbox_mAP',
        total=len(CANDIDATES),
        done=0,
    )
    for item in candidates:
        progress.report(item, best_candidate(CANDIDATES[: item.index + 1]))
        if item.index % 2:
            generation = CANDIDATES[item.index - 1 : item.index + 1]
            progress.report_generation(item.generation, generation)
    progress.finish(CANDIDATES[-1], None)
    visualizer.close()


def scalars(tmp_path):
    """Returns pairs of step and value by name."""
    found = {}
    for file in tmp_path.rglob('scalars.json'):
        for line in file.read_text().splitlines():
            values = json.loads(line)
            step = values.pop('step')
            for name, value in values.items():
                found.setdefault(name, []).append((step, value))
    return found


EXPECTED = {
    'search/fitness': [(0, 0.2), (1, 0.1), (3, 0.4)],
    'search/best': [(0, 0.2), (1, 0.2), (2, 0.2), (3, 0.4)],
    'search/macs': [(step, 1234) for step in range(4)],
    'search/params': [(step, 567) for step in range(4)],
    'search/seconds': [(step, 1 / 7) for step in range(4)],
    'search/seconds_reading': [(3, 0.125)],
    'search/generation': [(1, 0), (3, 1)],
    'search/generation_min': [(1, 0.1), (3, 0.4)],
    'search/generation_mean': [(1, pytest.approx(0.15)), (3, 0.4)],
    'search/generation_max': [(1, 0.2), (3, 0.4)],
    'search/generation_failed': [(1, 0), (3, 1)],
}


def test_visualizer_gets_every_candidate_and_generation(visualizer, tmp_path):
    report(visualizer, CANDIDATES)
    assert scalars(tmp_path) == EXPECTED


def test_charts_that_cannot_be_written_end_no_search(
    visualizer, caplog, monkeypatch
):
    def fill_disk(*_, **__):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(visualizer, 'add_scalars', fill_disk)
    report(visualizer, CANDIDATES)
    assert caplog.text.count('No space left on device') == 1


def test_a_line_for_each_candidate(visualizer, caplog):
    with caplog.at_level(logging.INFO, 'search'):
        report(visualizer, CANDIDATES)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 7
    assert lines[0].startswith('Search [1/4]  gen 0  01 2 30 1  0.0M')
    assert 'coco/bbox_mAP 0.2000  best 0.2000' in lines[0]
    assert 'left 0:00:00' in lines[4]
    assert 'failed: lost' in lines[3]
    assert lines[2] == (
        'Generation 0: coco/bbox_mAP 0.1000 to 0.2000, mean 0.1500'
    )
    assert lines[5].endswith('1 failed')
    assert lines[6].startswith('Search done. Best path 01 2 30 1: ')


def test_predicted_latency_is_shown(visualizer, caplog):
    caplog.set_level(logging.INFO)
    report(visualizer, CANDIDATES[:1])
    assert ' ms' not in caplog.text
    report(visualizer, [replace(CANDIDATES[0], latency=12.34)])
    assert '  12.34 ms  coco/bbox_mAP 0.2000' in caplog.text
