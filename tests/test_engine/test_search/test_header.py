"""The definition of a search: what its scores depend on."""

import json
from copy import deepcopy
from pathlib import Path

from kit.digits_runs import search_config

from detnas_mm.engine.search.header import scoring_text
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.structures.record_header import diff


def read(config):
    return json.loads(
        scoring_text(config, SearchSettings(metric='coco/bbox_mAP'))
    )


def changed(config, key, value):
    """Returns the keys that differ once a setting is changed."""
    other = deepcopy(config)
    other.merge_from_dict({key: value})
    differences = diff(read(config), read(other), 'config')
    return [line.split(': ')[0] for line in differences]


def test_what_scores_depend_on(base, tmp_path):
    settings = {
        'model.bbox_head.stacked_convs': 1,
        'train_dataloader.batch_size': 2,
        'val_dataloader.dataset.indices': 4,
        'custom_hooks.1.num_images': 4,
        'val_evaluator.metric': ['bbox', 'proposal'],
        'data_preprocessor': dict(mean=[1, 2, 3]),
    }
    config = search_config(base, tmp_path)
    problems = {}
    for key, value in settings.items():
        found = changed(config, key, value)
        if found != [f'config.{key}']:
            problems[key] = found
    assert not problems


def test_what_scores_do_not_depend_on(base, tmp_path):
    settings = {
        'val_dataloader.num_workers': 3,
        'log_level': 'DEBUG',
        'work_dir': 'elsewhere',
        'default_hooks.logger.interval': 1,
        'optim_wrapper.optimizer.lr': 1.0,
    }
    config = search_config(base, tmp_path)
    for key, value in settings.items():
        assert changed(config, key, value) == []


def test_contents_of_annotation_files_count(base, tmp_path):
    """Scores from different data do not go into one record."""
    config = search_config(base, tmp_path)
    content = json.loads(Path(config.val_evaluator.ann_file).read_text())
    file = tmp_path / 'search.json'
    config.val_evaluator.ann_file = str(file)
    texts = []
    for number in range(2):
        content['annotations'] = content['annotations'][number:]
        file.write_text(json.dumps(content))
        texts.append(read(config))
    (difference,) = diff(*texts, 'config')
    assert difference.startswith(f'config.annotations.{file}')
