"""The converters that split off search splits of COCO, VOC and ImageNet."""

import json
import re

import pytest
from kit.command_lines import run_here
from kit.stand_ins import write_coco, write_imagenet, write_voc

CLASSES = ('cat', 'dog')
VOC_COUNTS = {
    ('2007', 'trainval'): 5,
    ('2012', 'trainval'): 7,
    ('2007', 'test'): 3,
}


def split(data, *arguments):
    """Runs a converter; returns what it prints."""
    return run_here(f'dataset_converters/{data}_search_split.py', *arguments)


@pytest.fixture
def refusal(capsys):
    """Runs a converter that must refuse its input; returns its one line."""

    def run(data, *arguments):
        with pytest.raises(SystemExit) as error:
            split(data, *arguments)
        assert error.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


def coco_file(root, name):
    return root / 'annotations' / f'{name}.json'


def read_coco(root, name):
    return json.loads(coco_file(root, name).read_text())


def ids(annotations):
    return {image['id'] for image in annotations['images']}


def make_coco(root, counts, **settings):
    write_coco(root, CLASSES, counts, **settings)
    return root


def test_coco_2017(tmp_path):
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


def test_images_without_boxes_are_counted(tmp_path):
    """Data sets leave them out of training."""
    root = make_coco(tmp_path / 'coco', dict(train2017=9))
    content = read_coco(root, 'instances_train2017')
    kept = {image['id'] for image in content['images'][:1]}
    content['annotations'] = [
        box for box in content['annotations'] if box['image_id'] in kept
    ]
    coco_file(root, 'instances_train2017').write_text(json.dumps(content))
    printed = split('coco', root, '--search-images', 3)
    assert '6 images (1 with boxes), 2 boxes' in printed
    assert '3 images (0 with boxes), 0 boxes' in printed
    assert 'no annotations/instances_val2017.json to compare with' in printed


def test_coco_2014_has_the_same_images_in_two_folders(tmp_path):
    counts = dict(train2014=6, valminusminival2014=4, minival2014=3)
    root = make_coco(tmp_path / '2014', counts, images=False)
    printed = split('coco', root, '--year', 2014, '--search-images', 3)
    train, search, trainval = (
        read_coco(root, f'detnas_{name}2014')
        for name in ('train', 'search', 'trainval')
    )
    assert ids(trainval) == set(range(1, 11)) == ids(train) | ids(search)
    names = {i['id']: i['file_name'] for i in trainval['images']}
    assert names[6] == 'train2014/COCO_train2014_000000000006.jpg'
    assert names[7].startswith('val2014/')
    assert len(trainval['annotations']) == 20
    assert 'train, search and test (3 images)' in printed
    # Both years give the same search split.
    other = make_coco(tmp_path / '2017', dict(train2017=10), images=False)
    split('coco', other, '--search-images', 3)
    assert ids(read_coco(other, 'detnas_search2017')) == ids(search)


def test_coco_2014_without_the_files_of_detectron(tmp_path):
    """minival2014 has the images of val2017."""
    counts = dict(train2014=4, val2014=5)
    root = make_coco(tmp_path / 'coco', counts, images=False)
    minival = read_coco(root, 'instances_val2014')
    minival['images'] = minival['images'][:2]
    coco_file(root, 'instances_val2017').write_text(json.dumps(minival))
    split('coco', root, '--year', 2014, '--search-images', 2)
    assert ids(read_coco(root, 'instances_minival2014')) == {5, 6}
    assert ids(read_coco(root, 'detnas_trainval2014')) == {1, 2, 3, 4, 7, 8, 9}


def test_coco_refuses_a_test_image_among_the_training_images(
    refusal, tmp_path
):
    root = make_coco(tmp_path / 'coco', dict(train2017=4), images=False)
    train = coco_file(root, 'instances_train2017')
    coco_file(root, 'instances_val2017').write_text(train.read_text())
    error = refusal('coco', root, '--search-images', 1)
    assert 'share 3 images' in error
    assert not coco_file(root, 'detnas_train2017').exists()


def test_coco_refuses_other_files(refusal, tmp_path):
    error = refusal('coco', tmp_path)
    assert 'instances_train2017.json' in error
    assert 'COCO is downloaded as in https://' in error
    error = refusal('coco', tmp_path, '--ann-file', 'boxes.json')
    assert 'boxes.json' in error
    assert 'https://' not in error
    cases = {
        '{"images": [': 'is no JSON',
        '[]': 'lists of images, annotations, categories',
        '{"images": [{"id": 1}]}': 'lists of images, annotations, categories',
        '{"images": [], "annotations": [], "categories": []}': 'no images',
    }
    file = coco_file(tmp_path, 'instances_train2017')
    file.parent.mkdir()
    for text, expected in cases.items():
        file.write_text(text)
        error = refusal('coco', tmp_path)
        assert f'{file} ' in error
        assert expected in error


OWN = (
    *('--ann-file', 'annotations/instances_train2017.json'),
    *('--img-dir', 'train2017'),
    *('--test-ann-file', 'annotations/instances_val2017.json'),
    *('--test-img-dir', 'val2017'),
    *('--name', '_own', '--search-images', 2),
)


@pytest.fixture
def own_data(tmp_path):
    """Ids and file names start again in each annotation file."""
    root = make_coco(tmp_path / 'own', dict(train2017=5, val2017=2))
    content = read_coco(root, 'instances_val2017')
    for number, image in enumerate(content['images'], 1):
        file = root / 'val2017' / image['file_name']
        image.update(id=number, file_name=f'{number:012d}.jpg')
        file.rename(file.with_name(image['file_name']))
    coco_file(root, 'instances_val2017').write_text(json.dumps(content))
    return root


def test_own_data(own_data):
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


def test_own_data_need_their_files_and_options(refusal, own_data):
    for option in ('--img-dir', '--test-img-dir'):
        error = refusal('coco', own_data, *OWN, option, 'elsewhere')
        assert f'elsewhere/{1:012d}.jpg; set {option} to' in error
    coco_file(own_data, 'instances_val2017').unlink()
    assert 'no annotations at' in refusal('coco', own_data, *OWN)
    error = refusal('coco', own_data, '--img-dir', 'train2017')
    assert '--ann-file' in error
    options = ('--ann-file', 'a.json', '--test-ann-file', 'b.json')
    assert '--img-dir' in refusal('coco', own_data, *options)


def voc_file(root, year, split):
    return root / f'VOC{year}' / 'ImageSets' / 'Main' / f'{split}.txt'


def read_voc(root, year, split):
    return voc_file(root, year, split).read_text().split()


def test_voc(tmp_path):
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


def test_voc_refuses_missing_and_shared_images(refusal, tmp_path):
    assert 'give the folder of VOC2007 and VOC2012' in refusal('voc', tmp_path)
    write_voc(tmp_path, CLASSES, VOC_COUNTS)
    test = voc_file(tmp_path, '2007', 'test')
    test.write_text('000001\n')
    error = refusal('voc', tmp_path, '--search-images', 4)
    assert 'test2007 share 1 images, such as VOC2007/000001' in error
    test.unlink()
    error = refusal('voc', tmp_path, '--search-images', 4)
    assert 'unpack VOCtest2007' in error


def rows(root, name):
    lines = (root / 'meta' / f'{name}.txt').read_text().splitlines()
    return dict(line.split(' ') for line in lines)


@pytest.fixture
def imagenet(tmp_path):
    write_imagenet(tmp_path, classes=3, train=5, val=1)
    return tmp_path


def write_meta(root, name, text):
    file = root / 'meta' / f'{name}.txt'
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def test_imagenet_holds_out_of_each_class_alike(imagenet):
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


def test_imagenet_reads_labels_from_meta(imagenet):
    lines = [f'x{number}.JPEG {number % 2}\n' for number in range(6)]
    write_meta(imagenet, 'train', ''.join(lines))
    write_meta(imagenet, 'val', '\na.JPEG 0\n\nthe b.JPEG 1\n \n')
    printed = split('imagenet', imagenet, '--images-per-class', 1)
    both = rows(imagenet, 'detnas_train') | rows(imagenet, 'detnas_search')
    assert both == dict(line.split() for line in lines)
    assert 'train, search and test (2 images)' in printed


def test_imagenet_names_a_damaged_line(refusal, imagenet):
    for line in ('a.JPEG', 'a.JPEG cat', '3'):
        file = write_meta(imagenet, 'val', f'a.JPEG 0\n{line}\n')
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
    write_meta(imagenet, 'val', '\n')
    error = refusal('imagenet', imagenet, '--images-per-class', 2)
    assert 'val.txt lists no images' in error


def test_imagenet_refuses_to_hold_out_a_whole_class(refusal, imagenet):
    error = refusal('imagenet', imagenet, '--images-per-class', 5)
    assert 'must be 1 to 4' in error
    assert not (imagenet / 'meta').exists()


@pytest.mark.parametrize('data', ['coco', 'voc', 'imagenet'])
def test_the_seed_decides_and_no_split_is_replaced(tmp_path, refusal, data):
    held_out, options = [], ['--search-images', 5]
    for number, seed in enumerate((0, 0, 1)):
        root = tmp_path / str(number)
        if data == 'coco':
            write_coco(root, CLASSES, dict(train2017=30), images=False)
            file = coco_file(root, 'detnas_search2017')
        elif data == 'voc':
            write_voc(root, CLASSES, VOC_COUNTS)
            file = voc_file(root, '2012', 'detnas_search')
        else:
            write_imagenet(root, classes=3, train=5, val=1)
            file = root / 'meta' / 'detnas_search.txt'
            options = ['--images-per-class', 2]
        split(data, root, *options, '--seed', seed)
        held_out.append(file.read_text())
    assert held_out[0] == held_out[1] != held_out[2]
    split(data, root, *options, '--seed', 1)
    assert 'holds another split' in refusal(data, root, *options)
    assert file.read_text() == held_out[2]
