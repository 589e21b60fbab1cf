"""The digits data set, built with a few images."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from kit.command_lines import run_here
from pycocotools.coco import COCO
from sklearn.datasets import load_digits

from detnas_mm.datasets.digits import scenes as digit_scenes
from detnas_mm.datasets.digits.build import build_digits
from detnas_mm.datasets.digits.settings import DigitsSettings
from detnas_mm.datasets.digits.sources import load_sources
from detnas_mm.utils.errors import InputError

ROOT = Path(__file__).parents[2]
SMALL = DigitsSettings(
    train_images=12,
    search_images=6,
    test_images=6,
    train_crops=3,
    val_crops=2,
)
SPLITS = ('train', 'search', 'test')


@pytest.fixture(scope='module')
def data_set(tmp_path_factory):
    out = tmp_path_factory.mktemp('digits') / 'data' / 'digits'
    assert build_digits(out, SMALL).built
    return out


@pytest.fixture
def own_copy(data_set, tmp_path):
    return Path(shutil.copytree(data_set, tmp_path / 'digits'))


@pytest.fixture(scope='module')
def scenes():
    """Images with and without their digits, and the digits."""
    source = load_sources(seed=0)['train']
    drawn = []
    for key in range(40):
        rng = np.random.default_rng((7, key))
        rows = rng.integers(len(source.labels), size=key % 5 + 1)
        image, placed = digit_scenes.draw_scene(
            source, rows, 128, (16, 56), rng
        )
        rng = np.random.default_rng((7, key))
        rng.integers(len(source.labels), size=key % 5 + 1)
        empty = digit_scenes._background(source.photos, 128, rng)
        drawn.append((image, empty, placed))
    return drawn


def digests(folder):
    """SHA-256 of every file below a folder, by its name."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in sorted(folder.rglob('*'))
        if file.is_file()
    }


def annotation_file(data_set, split):
    return data_set / 'annotations' / f'instances_{split}.json'


def read_annotations(data_set, split):
    return json.loads(annotation_file(data_set, split).read_text())


def test_boxes_are_tight(scenes):
    """Strokes reach every side of a box and hardly leave it."""
    for image, empty, placed in scenes:
        painted = (np.abs(image - empty) > 8).any(axis=2)
        outside = painted.copy()
        for x, y, w, h in (digit.box for digit in placed):
            inside = painted[y : y + h, x : x + w]
            assert 0 <= x < x + w <= 128
            assert 0 <= y < y + h <= 128
            for edges in (inside, inside.T):
                assert edges[:2].any()
                assert edges[-2:].any()
            outside[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2] = (
                False
            )
        assert not outside.any()


def test_splits_share_no_digit_and_no_image(data_set):
    """Counted here from the files, without the builder's own check."""
    ids, images = {}, {}
    for split in SPLITS:
        items = read_annotations(data_set, split)['annotations']
        ids[split] = [item['digit_id'] for item in items]
        images[split] = list(digests(data_set / split).values())
    for folder, split in (('train', 'train'), ('val', 'search')):
        folder = data_set / 'classification' / folder
        ids[split] += [int(f.stem[-4:]) for f in folder.glob('*/*.jpg')]
        images[split] += digests(folder).values()
    digit_splits = [i for split in SPLITS for i in set(ids[split])]
    assert len(digit_splits) == len(set(digit_splits))
    every_image = sum(images.values(), [])
    assert len(every_image) == len(set(every_image)) == 24 + 50


def test_coco_api_reads_the_annotations(data_set, capsys):
    target = load_digits().target
    for split in SPLITS:
        coco = COCO(str(annotation_file(data_set, split)))
        capsys.readouterr()
        names = [c['name'] for c in coco.loadCats(coco.getCatIds())]
        assert names == list('0123456789')
        files = {image['file_name'] for image in coco.imgs.values()}
        assert files == {f.name for f in (data_set / split).iterdir()}
        for image in coco.loadImgs(coco.getImgIds()):
            pixels = cv2.imread(str(data_set / split / image['file_name']))
            assert pixels.shape == (image['height'], image['width'], 3)
            boxes = coco.loadAnns(coco.getAnnIds(imgIds=image['id']))
            assert 1 <= len(boxes) <= 8
            for box in boxes:
                assert box['category_id'] == target[box['digit_id']] + 1


def test_classes_are_balanced(data_set, tmp_path):
    crops = (data_set / 'classification' / 'train').glob('*/*.jpg')
    count = Counter(file.parent.name for file in crops)
    assert count == dict.fromkeys('0123456789', 3)
    build_digits(tmp_path / 'many', replace(SMALL, train_images=150))
    items = read_annotations(tmp_path / 'many', 'train')['annotations']
    count = Counter(item['category_id'] for item in items)
    assert len(count) == 10
    assert max(count.values()) < 2.5 * min(count.values())


def test_pixels_are_those_of_the_ground_truth():
    """Users build its data anew. Files depend on the JPEG encoder."""
    source = load_sources(seed=0)['train']
    rng = np.random.default_rng((0, 2, 1))
    image, placed = digit_scenes.draw_scene(
        source, np.arange(5), 128, (20, 48), rng
    )
    assert [digit.box for digit in placed] == [
        (37, 60, 23, 40), (61, 5, 17, 22), (68, 77, 22, 30),
        (77, 9, 19, 24), (14, 17, 28, 44),
    ]  # fmt: skip
    assert image.mean() == pytest.approx(48.3780, abs=1e-3)


def test_more_images_leave_the_others_alone(data_set, tmp_path):
    build_digits(tmp_path / 'more', replace(SMALL, train_images=14))
    first, second = digests(data_set), digests(tmp_path / 'more')
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {'annotations/instances_train.json', 'meta.json'}


def test_other_settings_are_refused_or_replace(own_copy):
    other = replace(SMALL, search_images=4)
    with pytest.raises(ValueError, match='search_images=6 and not 4'):
        build_digits(own_copy, other)
    assert build_digits(own_copy, other, overwrite=True).built
    assert len(list((own_copy / 'search').iterdir())) == 4
    assert [p.name for p in own_copy.parent.iterdir()] == ['digits']


def test_damage_is_noticed_and_rebuilt_byte_by_byte(own_copy):
    before = digests(own_copy)
    (own_copy / 'train' / '000003.jpg').unlink()
    with pytest.raises(ValueError, match='is damaged'):
        build_digits(own_copy, SMALL)
    assert build_digits(own_copy, SMALL, overwrite=True).built
    assert digests(own_copy) == before


def test_shared_digits_and_images_are_noticed(own_copy):
    image = own_copy / 'test' / '000002.jpg'
    original = image.read_bytes()
    shutil.copy(own_copy / 'train' / '000001.jpg', image)
    with pytest.raises(ValueError, match='train and test share 1 images'):
        build_digits(own_copy, SMALL)
    image.write_bytes(original)
    content = read_annotations(own_copy, 'test')
    train = read_annotations(own_copy, 'train')['annotations'][0]
    content['annotations'][0]['digit_id'] = train['digit_id']
    annotation_file(own_copy, 'test').write_text(json.dumps(content))
    with pytest.raises(ValueError, match='train and test share 1 digits'):
        build_digits(own_copy, SMALL)


def test_other_files_are_never_replaced(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(ValueError, match='holds other files'):
        build_digits(tmp_path, SMALL, overwrite=True)
    assert (tmp_path / 'thesis.tex').exists()


def test_killed_build_does_not_look_complete(tmp_path):
    """The process ends inside the build, without any clean-up."""
    code = (
        'import os, sys\n'
        'from detnas_mm.datasets.digits import build as digits, settings\n'
        'digits.write_classification = lambda *a: os._exit(9)\n'
        'digits.build_digits(sys.argv[1], settings.DigitsSettings(\n'
        '    train_images=2, search_images=2, test_images=2))\n'
    )
    out = tmp_path / 'digits'
    ended = subprocess.run(
        [sys.executable, '-c', code, str(out)],
        env={'PYTHONPATH': str(ROOT)},
        check=False,
    )
    assert ended.returncode == 9
    assert not out.exists()
    assert not list(tmp_path.rglob('meta.json'))
    assert build_digits(out, SMALL).built


def test_command_builds_and_a_second_build_does_nothing(tmp_path):
    settings = DigitsSettings(
        train_images=3,
        search_images=2,
        test_images=2,
        train_crops=2,
        val_crops=1,
    )
    options = [
        word
        for name, value in asdict(settings).items()
        for word in (f'--{name.replace("_", "-")}', str(value))
    ]
    out = tmp_path / 'digits'
    printed = run_here('dataset_converters/digits.py', '--out', out, *options)
    assert 'images: 3 train, 2 search, 2 test' in printed
    assert 'crops: 20 train, 10 val' in printed
    assert 'share no digit and no image' in printed
    before = (out / 'meta.json').stat().st_mtime_ns
    report = build_digits(out, settings)
    assert not report.built
    assert list(report.counts['images'].values()) == [3, 2, 2]
    assert (out / 'meta.json').stat().st_mtime_ns == before


def test_images_of_other_sizes_hold_more_and_smaller_digits(tmp_path):
    """Larger ones than the photographs, too, which are 128 pixels wide."""
    settings = replace(
        SMALL, image_size=192, max_digits=24, min_height=16, max_height=20
    )
    build_digits(tmp_path / 'digits', settings)
    file = tmp_path / 'digits/annotations/instances_search.json'
    search = json.loads(file.read_text())
    assert {image['width'] for image in search['images']} == {192}
    counts = Counter(box['image_id'] for box in search['annotations'])
    assert 5 < max(counts.values()) <= 24
    # A digit is turned and sheared a little.
    assert all(box['bbox'][3] <= 1.4 * 20 for box in search['annotations'])


def test_sizes_that_do_not_ascend_are_refused():
    with pytest.raises(InputError, match='got 20, 48, 40'):
        DigitsSettings(image_size=40)
