"""What the training of a found network starts from."""

import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from kit.digits_runs import ROOT, digits_folder, load_config

SEARCH = 'digits/retinanet_detnas-search-tiny_fpn_digits'

sys.path.insert(0, str(ROOT / 'benchmarks'))
TOOL = runpy.run_path(str(ROOT / 'benchmarks/starts.py'))
sys.path.pop(0)


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    return load_config(SEARCH, digits_folder(base), base / 'starts')


def test_objects_are_cut_out_of_the_images_of_their_split(config, tmp_path):
    TOOL['cut_objects'](config, tmp_path)
    for split, name in (('train', 'train'), ('val', 'search')):
        root = Path(config[f'{split}_dataloader'].dataset.data_root)
        file = root / f'annotations/instances_{name}.json'
        objects = json.loads(file.read_text())['annotations']
        counts = Counter(item['category_id'] for item in objects)
        folders = sorted((tmp_path / split).iterdir())
        assert [len(list(f.iterdir())) for f in folders] == [
            counts[digit] for digit in sorted(counts)
        ]


def test_crop_is_a_square_around_the_box(tmp_path):
    """20 x 20 pixels around an object of 8 x 16, half outside: black."""
    file = tmp_path / 'image.png'
    mmcv.imwrite(np.full((40, 40, 3), 255, np.uint8), str(file))
    info = {
        'img_path': str(file),
        'instances': [{'bbox': [-4, 8, 4, 24], 'bbox_label': 3}],
    }

    class Images:
        get_data_info = staticmethod(lambda index: info)
        __len__ = staticmethod(lambda: 1)

    ((label, crop),) = TOOL['_crops'](Images())
    assert label == 3
    assert crop.shape == (48, 48, 3)
    assert crop[:, :20].max() < 128 < crop[:, 28:].min()


def test_a_training_starts_where_it_should(config, tmp_path):
    file = tmp_path / 'search.py'
    config.dump(file)
    classifier = tmp_path / 'cls_seed1/epoch_10.pth'
    classifier.parent.mkdir()
    torch.save({}, classifier)
    (classifier.parent / 'last_checkpoint').write_text(str(classifier))
    starts = {}
    for start in TOOL['STARTS']:
        training = TOOL['Training'](
            start, 0.5, 1, '21012', config=file, out=tmp_path
        )
        settings, share = training._settings(tmp_path / start)
        assert share == 2 / 5  # whole epochs
        assert settings['randomness']['seed'] == 1
        init = settings['model']['backbone']['init_cfg'] or {}
        starts[start] = settings['load_from'], init.get('checkpoint')
    assert starts == {
        'supernet': (str(tmp_path / 'subnet.pth'), None),
        'classification': (None, str(classifier)),
        'nothing': (None, None),
    }
