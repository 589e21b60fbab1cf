"""A search of the digits detector, with all that it writes."""

import json
from pathlib import Path

from kit.digits_runs import run_search, search_config
from mmengine.config import Config

from detnas_mm import SEARCH_SPACES
from detnas_mm.cost import backbone_macs, backbone_params
from detnas_mm.structures import RECORD, SearchRecord
from detnas_mm.utils.files import file_digest, text_digest

TINY = SEARCH_SPACES['tiny']
PARTS = {'calibration', 'reading', 'inference', 'metric'}


def test_record_has_a_line_for_each_candidate(searched):
    candidates = searched[1]
    assert [c['index'] for c in candidates] == list(range(6))
    assert [c['generation'] for c in candidates] == [0, 0, 0, 1, 1, 1]
    assert len({c['path'] for c in candidates}) == 6
    assert {c['origin'] for c in candidates[:3]} == {'random'}
    later = {c['origin'] for c in candidates[3:]}
    assert later <= {'mutation', 'crossover', 'random'}
    for candidate in candidates:
        path = TINY.parse(candidate['path'])
        assert candidate['path'] == TINY.format(path)
        assert candidate['macs'] == backbone_macs(TINY, path) <= 41e6
        assert candidate['params'] == backbone_params(TINY, path)
        assert candidate['status'] == 'complete'
        by_part = candidate['seconds_by_part']
        assert set(by_part) == PARTS
        assert min(by_part.values()) > 0
        total = sum(by_part.values())
        assert 0.5 * candidate['seconds'] < total <= candidate['seconds']


def test_fitness_is_the_metric_unrounded(searched):
    candidates = searched[1]
    scores = [c['fitness'] for c in candidates]
    assert scores == [c['metrics']['coco/bbox_mAP'] for c in candidates]
    assert any(round(score, 6) != score for score in scores)
    assert len(set(scores)) > 1


def test_visualizer_gets_the_numbers_of_the_search_only(searched):
    config, candidates = searched
    (file,) = Path(config.work_dir).glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    scores = {
        line['step']: line['search/fitness']
        for line in lines
        if 'search/fitness' in line
    }
    assert scores == {c['index']: c['fitness'] for c in candidates}
    # Not those of each validation, all of which have step 0.
    names = {name for line in lines for name in line if name != 'step'}
    assert {name.split('/')[0] for name in names} == {'search'}


def test_header_defines_the_search(searched, supernet):
    header = SearchRecord.read(Path(searched[0].work_dir) / RECORD).header
    assert header.checkpoint_digest == file_digest(supernet)
    assert header.config_digest == text_digest(header.config)
    assert header.search_space['stage_blocks'] == list(TINY.stage_blocks)
    assert header.constraint['max_macs'] == 41e6
    assert header.constraint['input_size'] == [224, 224]
    assert header.seed == 0
    assert header.metric == 'coco/bbox_mAP'
    assert header.algorithm == dict(
        type='Evolution',
        population=3,
        parents=2,
        mutation_prob=0.1,
        concentration=None,
        num_mutation=None,
        num_crossover=None,
        num_random=0,
    )
    assert header.planned == 6


def test_files_of_the_best_candidate(searched):
    config, candidates = searched
    best = max(candidates, key=lambda c: (c['fitness'], -c['index']))
    with open(f'{config.work_dir}/best.json') as file:
        assert json.load(file) == {
            'search_space': 'tiny',
            'metric': 'coco/bbox_mAP',
            'shuffle': 'grouped',
            **best,
        }
    found = Config.fromfile(f'{config.work_dir}/best_backbone.py')
    inputs = config.model.data_preprocessor
    assert {'mean', 'std'} < set(found.searched_data_preprocessor)
    for name, value in found.searched_data_preprocessor.items():
        assert inputs[name] == value
    norm_cfg = config.model.backbone.norm_cfg
    assert found.searched_backbone.norm_cfg == norm_cfg


def test_score_depends_on_the_path_alone(searched, base, tmp_path):
    """Another order, another process state, images read by a worker."""
    config = search_config(base, tmp_path)
    paths = [c['path'] for c in searched[1]]
    some = [paths[4], paths[0], paths[2]]
    config.val_cfg.algorithm = dict(type='FixedPaths', paths=some)
    config.val_dataloader.num_workers = 1
    candidates = run_search(config)
    assert {c['origin'] for c in candidates} == {'fixed'}
    assert [c['path'] for c in candidates] == some
    fitness = {c['path']: c['fitness'] for c in searched[1]}
    assert [c['fitness'] for c in candidates] == [fitness[p] for p in some]


def test_random_search_and_bounds_on_the_detector(base, tmp_path):
    config = search_config(base, tmp_path)
    config.val_cfg.update(generations=1)
    config.val_cfg.algorithm = dict(type='RandomSearch', population=2)
    config.val_cfg.seed = 7
    config.val_cfg.constraint = dict(max_macs=1e12, whole_detector=True)
    candidates = run_search(config)
    assert [c['origin'] for c in candidates] == ['random'] * 2
    header = SearchRecord.read(tmp_path / RECORD).header
    assert header.constraint['input_size'] == [128, 128]
    assert header.constraint['rest_macs'] > 1e6
    assert header.constraint['rest_params'] > 1e5
    for candidate in candidates:
        path = TINY.parse(candidate['path'])
        assert candidate['macs'] == backbone_macs(TINY, path, (128, 128))
