"""The converters that hold search splits out of COCO, VOC and ImageNet."""

import json
import re
import runpy
import sys

import pytest
from kit.digits_runs import ROOT
from kit.stand_ins import write_coco, write_imagenet, write_voc

TOOLS = ROOT / 'tools' / 'dataset_converters'
CLASSES = ('cat', 'dog')
VOC_COUNTS = {
    ('2007', 'trainval'): 5,
    ('2012', 'trainval'): 7,
    ('2007', 'test'): 3,
}


@pytest.fixture
def split(monkeypatch, capsys):
    """Runs a converter, and returns what it prints."""

    def run(data, *arguments):
        tool = TOOLS / f'{data}_search_split.py'
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
        runpy.run_path(str(tool), run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.fixture
def refusal(split, capsys):
    """Runs a converter, and returns why it refuses."""

    def run(data, *arguments):
        with pytest.raises(SystemExit) as error:
            split(data, *arguments)
        assert error.value.code == 2
        return capsys.readouterr().err

    return run


def read_coco(root, name):
    return json.loads((root / 'annotations' / f'{name}.json').read_text())


def ids(annotations):
    return {image['id'] for image in annotations['images']}


def make_coco(root, counts, **settings):
    write_coco(root, CLASSES, counts, **settings)
    return root


def test_coco_2017(split, tmp_path):
    root = make_coco(tmp_path / 'coco', dict(train2017=9, val2017=4))
    printed = split('coco', root, '--search-images', 3)
    original = read_coco(root, 'instances_train2017')
    train, search = (
        read_coco(root, f'detnas_{name}2017') for name in ('train', 'search')
    )
    assert len(ids(train)) == 6
    assert len(ids(search)) == 3
    assert ids(train) | ids(search) == ids(original)
    for part in (train, search):
        assert part['categories'] == original['categories']
        boxes = [
            box for box in original['annotations']
            if box['image_id'] in ids(part)
        ]  # fmt: skip
        assert part['annotations'] == boxes
        for image in part['images']:
            assert image in original['images']
    assert '6 images, 12 boxes' in printed
    assert '3 images, 6 boxes' in printed
    assert 'train, search and test (4 images) share no image' in printed


def test_images_without_boxes_are_counted(split, tmp_path):
    """Data sets leave them out of training."""
    root = make_coco(tmp_path / 'coco', dict(train2017=9, val2017=4))
    file = root / 'annotations' / 'instances_train2017.json'
    content = json.loads(file.read_text())
    kept = {image['id'] for image in content['images'][:1]}
    content['annotations'] = [
        box for box in content['annotations'] if box['image_id'] in kept
    ]
    file.write_text(json.dumps(content))
    printed = split('coco', root, '--search-images', 3)
    assert '6 images (1 with boxes), 2 boxes' in printed
    assert '3 images (0 with boxes), 0 boxes' in printed


def test_coco_2014_is_the_same_images_in_two_folders(split, tmp_path):
    counts = dict(train2014=6, valminusminival2014=4, minival2014=3)
    root = make_coco(tmp_path / 'coco', counts, images=False)
    printed = split('coco', root, '--year', 2014, '--search-images', 3)
    train, search, trainval = (
        read_coco(root, f'detnas_{name}2014')
        for name in ('train', 'search', 'trainval')
    )
    assert ids(trainval) == set(range(1, 11)) == ids(train) | ids(search)
    assert len(ids(search)) == 3
    names = {i['id']: i['file_name'] for i in trainval['images']}
    assert names[6] == 'train2014/COCO_train2014_000000000006.jpg'
    assert names[7].startswith('val2014/')
    assert len(trainval['annotations']) == 20
    assert 'train, search and test (3 images)' in printed


def test_coco_2014_without_the_files_of_detectron(split, tmp_path):
    """minival2014 has the images of val2017."""
    counts = dict(train2014=4, val2014=5)
    root = make_coco(tmp_path / 'coco', counts, images=False)
    minival = read_coco(root, 'instances_val2014')
    minival['images'] = minival['images'][:2]
    file = root / 'annotations' / 'instances_val2017.json'
    file.write_text(json.dumps(minival))
    split('coco', root, '--year', 2014, '--search-images', 2)
    assert ids(read_coco(root, 'instances_minival2014')) == {5, 6}
    assert ids(read_coco(root, 'detnas_trainval2014')) == {1, 2, 3, 4, 7, 8, 9}


def test_both_years_hold_out_the_same_images(split, tmp_path):
    one = make_coco(tmp_path / '2017', dict(train2017=10), images=False)
    counts = dict(train2014=6, valminusminival2014=4, minival2014=3)
    other = make_coco(tmp_path / '2014', counts, images=False)
    split('coco', one, '--search-images', 4)
    split('coco', other, '--search-images', 4, '--year', 2014)
    search = [
        ids(read_coco(root, f'detnas_search{root.name}'))
        for root in (one, other)
    ]
    assert search[0] == search[1]


def test_coco_without_val2017_says_so(split, tmp_path):
    root = make_coco(tmp_path / 'coco', dict(train2017=4), images=False)
    printed = split('coco', root, '--search-images', 1)
    assert 'no annotations/instances_val2017.json to compare with' in printed


def test_coco_refuses_a_test_image_among_those_of_training(refusal, tmp_path):
    root = make_coco(tmp_path / 'coco', dict(train2017=4), images=False)
    train = root / 'annotations' / 'instances_train2017.json'
    (root / 'annotations' / 'instances_val2017.json').write_text(
        train.read_text()
    )
    error = refusal('coco', root, '--search-images', 1)
    assert 'share 3 images' in error
    assert not (root / 'annotations' / 'detnas_train2017.json').exists()


def test_coco_refuses_a_missing_file(refusal, tmp_path):
    error = refusal('coco', tmp_path)
    assert 'instances_train2017.json' in error
    assert 'COCO is downloaded as in https://' in error
    assert len(error.splitlines()) == 1
    error = refusal('coco', tmp_path, '--ann-file', 'boxes.json')
    assert 'boxes.json' in error
    assert 'https://' not in error


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('{"images": [', 'is no JSON'),
        ('[]', 'lists of images, annotations, categories'),
        ('{"images": [{"id": 1}]}', 'lists of images, annotations, categ'),
        ('{"images": [], "annotations": [], "categories": []}', 'no images'),
    ],
)
def test_coco_refuses_other_files(refusal, tmp_path, text, expected):
    file = tmp_path / 'annotations' / 'instances_train2017.json'
    file.parent.mkdir()
    file.write_text(text)
    error = refusal('coco', tmp_path)
    assert f'{file} ' in error
    assert expected in error
    assert len(error.splitlines()) == 1


OWN = (
    *('--ann-file', 'annotations/instances_train2017.json'),
    *('--img-dir', 'train2017'),
    *('--test-ann-file', 'annotations/instances_val2017.json'),
    *('--test-img-dir', 'val2017'),
    *('--name', '_own', '--search-images', 2),
)


@pytest.fixture
def own_data(tmp_path):
    """Ids and file names start anew in each annotation file."""
    root = make_coco(tmp_path / 'own', dict(train2017=5, val2017=2))
    content = read_coco(root, 'instances_val2017')
    for number, image in enumerate(content['images'], 1):
        file = root / 'val2017' / image['file_name']
        image.update(id=number, file_name=f'{number:012d}.jpg')
        file.rename(file.with_name(image['file_name']))
    file = root / 'annotations' / 'instances_val2017.json'
    file.write_text(json.dumps(content))
    return root


def test_own_data(split, own_data):
    printed = split('coco', own_data, *OWN)
    assert len(ids(read_coco(own_data, 'detnas_search_own'))) == 2
    assert 'train, search and test (2 images) share no image' in printed


def test_a_test_image_under_another_name_is_found(refusal, own_data):
    first = own_data / 'train2017' / f'{1:012d}.jpg'
    other = own_data / 'val2017' / f'{2:012d}.jpg'
    other.write_bytes(first.read_bytes())
    error = refusal('coco', own_data, *OWN)
    assert f'and test share 1 images, such as {first}' in error


def test_copies_of_a_training_image_are_found(refusal, own_data):
    """Of five equal images at least one is in each split."""
    files = sorted((own_data / 'train2017').glob('*.jpg'))
    for file in files:
        file.write_bytes(files[0].read_bytes())
    error = refusal('coco', own_data, *OWN)
    assert 'train and search share 1 images' in error


def test_a_missing_test_file_is_an_error(refusal, own_data):
    (own_data / 'annotations' / 'instances_val2017.json').unlink()
    assert 'no annotations at' in refusal('coco', own_data, *OWN)


def test_own_data_name_the_folder_that_is_wrong(refusal, own_data):
    for option in ('--img-dir', '--test-img-dir'):
        error = refusal('coco', own_data, *OWN, option, 'elsewhere')
        assert f'elsewhere/{1:012d}.jpg; set {option} to' in error
        assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (('--img-dir', 'train2017'), '--ann-file'),
        (
            ('--ann-file', 'a.json', '--test-ann-file', 'b.json'),
            '--img-dir',
        ),
    ],
)
def test_own_data_need_all_options(refusal, tmp_path, options, named):
    error = refusal('coco', tmp_path, *options)
    assert named in error


def read_voc(root, year, split):
    file = root / f'VOC{year}' / 'ImageSets' / 'Main' / f'{split}.txt'
    return file.read_text().split()


def test_voc(split, tmp_path):
    write_voc(tmp_path, CLASSES, VOC_COUNTS)
    printed = split('voc', tmp_path, '--search-images', 4)
    held_out = 0
    for year in ('2007', '2012'):
        train = read_voc(tmp_path, year, 'detnas_train')
        search = read_voc(tmp_path, year, 'detnas_search')
        trainval = read_voc(tmp_path, year, 'trainval')
        assert sorted(train + search) == sorted(trainval)
        held_out += len(search)
    assert held_out == 4
    assert 'train: 8 images\nsearch: 4 images\n' in printed
    assert 'train, search and test (3 images) share no image' in printed


def test_voc_refuses_a_test_image_among_those_of_training(refusal, tmp_path):
    write_voc(tmp_path, CLASSES, VOC_COUNTS)
    lists = tmp_path / 'VOC2007' / 'ImageSets' / 'Main'
    (lists / 'test.txt').write_text('000001\n')
    error = refusal('voc', tmp_path, '--search-images', 4)
    assert 'test2007 share 1 images, such as VOC2007/000001' in error


def test_voc_refuses_another_folder(refusal, tmp_path):
    assert 'give the folder of VOC2007 and VOC2012' in refusal('voc', tmp_path)


def test_voc_without_its_test_images(refusal, tmp_path):
    write_voc(tmp_path, CLASSES, VOC_COUNTS)
    (tmp_path / 'VOC2007' / 'ImageSets' / 'Main' / 'test.txt').unlink()
    error = refusal('voc', tmp_path, '--search-images', 4)
    assert 'unpack VOCtest2007' in error


def rows(root, name):
    lines = (root / 'meta' / f'{name}.txt').read_text().splitlines()
    return dict(line.split(' ') for line in lines)


@pytest.fixture
def imagenet(tmp_path):
    write_imagenet(tmp_path, classes=3, train=5, val=1)
    return tmp_path


def test_imagenet_holds_out_of_each_class_alike(split, imagenet):
    printed = split('imagenet', imagenet, '--images-per-class', 2)
    train, search = (
        rows(imagenet, 'detnas_train'),
        rows(imagenet, 'detnas_search'),
    )
    assert not train.keys() & search.keys()
    assert sorted(search.values()) == ['0', '0', '1', '1', '2', '2']
    assert len(train) == 9
    for image, label in (train | search).items():
        assert (imagenet / 'train' / image).is_file()
        assert image.startswith(f'n{int(label):08d}/')
    assert '6 images of 3 classes' in printed
    assert 'train, search and test (3 images) share no image' in printed
    # Not the same positions in every class.
    positions = {re.search(r'_(\d)\.', image)[1] for image in search}
    assert len(positions) > 2


def test_imagenet_reads_labels_from_meta(split, imagenet):
    (imagenet / 'meta').mkdir()
    lines = [f'x{number}.JPEG {number % 2}\n' for number in range(6)]
    (imagenet / 'meta' / 'train.txt').write_text(''.join(lines))
    split('imagenet', imagenet, '--images-per-class', 1)
    both = rows(imagenet, 'detnas_train') | rows(imagenet, 'detnas_search')
    assert both == dict(line.split() for line in lines)


def test_imagenet_skips_blank_lines(split, imagenet):
    (imagenet / 'meta').mkdir()
    file = imagenet / 'meta' / 'val.txt'
    file.write_text('\na.JPEG 0\n\nthe b.JPEG 1\n \n')
    printed = split('imagenet', imagenet, '--images-per-class', 2)
    assert 'train, search and test (2 images)' in printed


@pytest.mark.parametrize('line', ['a.JPEG', 'a.JPEG cat', '3'])
def test_imagenet_names_a_damaged_line(refusal, imagenet, line):
    (imagenet / 'meta').mkdir()
    file = imagenet / 'meta' / 'val.txt'
    file.write_text(f'a.JPEG 0\n{line}\n')
    error = refusal('imagenet', imagenet, '--images-per-class', 2)
    assert f'line 2 of {file} must be' in error
    assert f'got {line!r}' in error


def test_imagenet_with_a_flat_val_needs_labels(refusal, imagenet):
    for folder in list((imagenet / 'val').iterdir()):
        for image in folder.iterdir():
            image.rename(imagenet / 'val' / image.name)
        folder.rmdir()
    error = refusal('imagenet', imagenet, '--images-per-class', 2)
    assert f'no images in {imagenet}/val/<class>/' in error
    assert 'meta/val.txt' in error
    assert not (imagenet / 'meta').exists()
    (imagenet / 'meta').mkdir()
    (imagenet / 'meta' / 'val.txt').write_text('\n')
    error = refusal('imagenet', imagenet, '--images-per-class', 2)
    assert 'val.txt lists no images' in error


def test_imagenet_refuses_to_hold_out_a_whole_class(refusal, imagenet):
    error = refusal('imagenet', imagenet, '--images-per-class', 5)
    assert 'must be 1 to 4' in error
    assert not (imagenet / 'meta').exists()


@pytest.mark.parametrize('data', ['coco', 'voc', 'imagenet'])
def test_the_seed_decides(split, tmp_path, data):
    held_out = []
    for number, seed in enumerate((0, 0, 1)):
        root = tmp_path / str(number)
        if data == 'coco':
            write_coco(root, CLASSES, dict(train2017=30), images=False)
            file = root / 'annotations' / 'detnas_search2017.json'
        elif data == 'voc':
            write_voc(root, CLASSES, VOC_COUNTS)
            file = (
                root / 'VOC2012' / 'ImageSets' / 'Main' / 'detnas_search.txt'
            )
        else:
            write_imagenet(root, classes=3, train=5, val=1)
            file = root / 'meta' / 'detnas_search.txt'
        options = () if data == 'imagenet' else ('--search-images', 5)
        if data == 'imagenet':
            options = ('--images-per-class', 2)
        split(data, root, *options, '--seed', seed)
        held_out.append(file.read_text())
    assert held_out[0] == held_out[1] != held_out[2]


def test_a_second_run_changes_nothing(split, refusal, imagenet):
    split('imagenet', imagenet, '--images-per-class', 2)
    before = rows(imagenet, 'detnas_search')
    split('imagenet', imagenet, '--images-per-class', 2)
    error = refusal('imagenet', imagenet, '--images-per-class', 3)
    assert 'holds another split' in error
    assert rows(imagenet, 'detnas_search') == before
