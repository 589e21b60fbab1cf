"""check_data.py: all images of a config are read; train.py --resume."""

import io
import json
import re
import runpy

import cv2
import numpy as np
import pytest
import torch
from kit.command_lines import config_file, run_here
from kit.digits_runs import ROOT
from PIL import Image

from detnas_mm.models import last_checkpoint
from detnas_mm.utils.errors import InputError

CLASSES = '0123456789'


@pytest.fixture
def data(tmp_path):
    """Three images for training and validation each, without boxes."""
    for part, first in (('train', 0), ('test', 10)):
        (tmp_path / part).mkdir()
        for i in range(3):
            rng = np.random.default_rng(first + i)
            image = rng.integers(0, 255, (10, 20, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / part / f'{i}.png'), image)
        content = dict(
            images=[
                dict(id=i, file_name=f'{i}.png', width=20, height=10)
                for i in range(3)
            ],
            categories=[dict(id=i, name=n) for i, n in enumerate(CLASSES)],
            annotations=[],
        )
        folder = tmp_path / 'annotations'
        folder.mkdir(exist_ok=True)
        file = folder / f'instances_{part}.json'
        file.write_text(json.dumps(content))
    return tmp_path


def check(data, *options):
    config = config_file('retinanet_detnas-tiny_fpn_digits')
    truth = data / 'annotations/instances_test.json'
    settings = [
        f'train_dataloader.dataset.data_root={data}/',
        f'test_dataloader.dataset.data_root={data}/',
        f'test_evaluator.ann_file={truth}',
    ]
    given = ['--parts', 'train', 'test', '--work-dir', data / 'work']
    return run_here(
        'misc/check_data.py',
        config,
        *given,
        *options,
        '--cfg-options',
        *settings,
    )


def test_right_data(data):
    assert '6 images of train, test: nothing wrong' in check(data)


def test_all_that_is_wrong_is_listed(data, capsys):
    (data / 'train/0.png').write_bytes(b'')
    (data / 'train/1.png').unlink()
    same = (data / 'train/2.png').read_bytes()
    (data / 'test/1.png').write_bytes(same)
    cv2.imwrite(str(data / 'test/2.png'), np.zeros((20, 10, 3), np.uint8))
    out = data / 'out.txt'
    with pytest.raises(SystemExit) as stop:
        check(data, '--out', out)
    assert stop.value.code == 1
    files = ['test/1.png', 'train/0.png', 'train/1.png']
    assert out.read_text().split() == [f'{data}/{file}' for file in files]


def test_refused_entries_of_all_files_are_listed_beside_images(data):
    """A file that is refused does not hide what is wrong in another."""
    for part, box in (('train', [1, 2]), ('test', [1, 2, None, 4])):
        file = data / f'annotations/instances_{part}.json'
        content = json.loads(file.read_text())
        content['annotations'] = [
            dict(id=i, image_id=1, category_id=i, bbox=[2, 2, 4, 4])
            for i in (1, 2, 3)
        ]
        content['annotations'][1]['bbox'] = box
        content['images'][0]['width'] = '20'
        file.write_text(json.dumps(content))
    (data / 'train/2.png').write_bytes(b'')
    out = data / 'out.txt'
    with pytest.raises(SystemExit):
        check(data, '--out', out)
    expected = [
        f'{data}/annotations/instances_{part}.json: {entry}'
        for part in ('test', 'train')
        for entry in ('annotation 2', 'image 0')
    ]
    assert out.read_text().splitlines() == [*expected, f'{data}/train/2.png']


def encoded(**settings):
    file = io.BytesIO()
    Image.new('RGB', (20, 10)).save(file, 'JPEG', **settings)
    return file.getvalue()


def test_pictures_that_do_not_fit_their_annotations():
    tool = runpy.run_path(str(ROOT / 'tools/misc/check_data.py'))
    picture_fault = tool['picture_fault']
    exif = Image.Exif()
    exif[274] = 6
    turned = encoded(exif=exif)
    assert picture_fault(encoded(), (20, 10)) is None
    assert 'swapped' in picture_fault(encoded(), (10, 20))
    assert 'another size' in picture_fault(encoded(), (40, 20))
    assert 'EXIF orientation 6' in picture_fault(turned, (20, 10))
    # The boxes are in the frame of the picture as it is shown.
    assert picture_fault(turned, (10, 20)) is None
    # Sizes do not tell what is upside down.
    exif[274] = 3
    assert 'EXIF orientation 3' in picture_fault(encoded(exif=exif), (20, 10))


def checkpoints(folder, *numbers, last):
    folder.mkdir(exist_ok=True)
    for number in numbers:
        torch.save(dict(meta=number), folder / f'epoch_{number}.pth')
    (folder / 'last_checkpoint').write_text(f'/before/{last}')


def test_resume_finds_the_last_whole_checkpoint(tmp_path):
    """Though the folder was moved, and the last file is torn."""
    folder = tmp_path / 'work'
    assert last_checkpoint(folder) is None
    checkpoints(folder, 8, 9, 10, 11, last='epoch_10.pth')
    assert last_checkpoint(folder) == str(folder / 'epoch_10.pth')
    for number in (10, 9):
        file = folder / f'epoch_{number}.pth'
        file.write_bytes(file.read_bytes()[:-30])
    assert last_checkpoint(folder) == str(folder / 'epoch_8.pth')
    (folder / 'epoch_8.pth').write_bytes(b'')
    with pytest.raises(InputError, match=re.escape(str(folder))):
        last_checkpoint(folder)
