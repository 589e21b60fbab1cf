"""The converters that split off search splits of COCO, VOC and ImageNet."""

import json
import re

import pytest
from kit.command_lines import run_here
from kit.stand_ins import write_coco, write_imagenet, write_voc

COCO, VOC, IMAGENET = (
    f'dataset_converters/{data}_search_split.py'
    for data in ('coco', 'voc', 'imagenet')
)
CLASSES = ('cat', 'dog')
VOC_COUNTS = {
    ('2007', 'trainval'): 5,
    ('2012', 'trainval'): 7,
    ('2007', 'test'): 3,
}


def coco_file(root, name):
    return root / 'annotations' / f'{name}.json'


def read_coco(root, name):
    return json.loads(coco_file(root, name).read_text())


def ids(annotations):
    return {image['id'] for image in annotations['images']}


def make_coco(root, **counts):
    """Writes annotations, and images only of the year 2017."""
    write_coco(root, CLASSES, counts, images='train2017' in counts)
    return root


def test_coco_2017(tmp_path):
    root = make_coco(tmp_path / 'coco', train2017=9, val2017=4)
    original = read_coco(root, 'instances_train2017')
    # Training leaves out images without boxes.
    empty = original['images'][0]['id']
    original['annotations'] = [
        box for box in original['annotations'] if box['image_id'] != empty
    ]
    coco_file(root, 'instances_train2017').write_text(json.dumps(original))
    printed = run_here(COCO, root, '--search-images', 3)
    train, search = (
        read_coco(root, f'detnas_{name}2017') for name in ('train', 'search')
    )
    assert (len(ids(train)), len(ids(search))) == (6, 3)
    assert ids(train) | ids(search) == ids(original)
    for part in (train, search):
        assert part['categories'] == original['categories']
        boxes = [
            box
            for box in original['annotations']
            if box['image_id'] in ids(part)
        ]
        assert part['annotations'] == boxes
        for image in part['images']:
            assert image in original['images']
    counts = {
        (6, 12): '6 images, 12 boxes',
        (6, 10): '6 images (5 with boxes), 10 boxes',
        (3, 6): '3 images, 6 boxes',
        (3, 4): '3 images (2 with boxes), 4 boxes',
    }
    for part in (train, search):
        numbers = len(part['images']), len(part['annotations'])
        assert counts[numbers] in printed
    assert 'train, search and test (4 images) share no image' in printed


def test_coco_2014_has_the_same_images_in_two_folders(tmp_path):
    root = make_coco(
        tmp_path / '2014', train2014=6, valminusminival2014=4, minival2014=3
    )
    printed = run_here(COCO, root, '--year', 2014, '--search-images', 3)
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
    other = make_coco(tmp_path / '2017', train2017=10)
    printed = run_here(COCO, other, '--search-images', 3)
    assert ids(read_coco(other, 'detnas_search2017')) == ids(search)
    assert 'no annotations/instances_val2017.json to compare with' in printed


def test_coco_2014_without_the_files_of_detectron(tmp_path):
    """minival2014 has the images of val2017."""
    root = make_coco(tmp_path / 'coco', train2014=4, val2014=5)
    minival = read_coco(root, 'instances_val2014')
    minival['images'] = minival['images'][:2]
    coco_file(root, 'instances_val2017').write_text(json.dumps(minival))
    run_here(COCO, root, '--year', 2014, '--search-images', 2)
    assert ids(read_coco(root, 'instances_minival2014')) == {5, 6}
    assert ids(read_coco(root, 'detnas_trainval2014')) == {1, 2, 3, 4, 7, 8, 9}


def test_coco_refuses_other_files(refusal, tmp_path):
    error = refusal(COCO, tmp_path)
    assert 'instances_train2017.json' in error
    assert 'COCO: see mmdet' in error
    error = refusal(COCO, tmp_path, '--ann-file', 'boxes.json')
    assert 'boxes.json' in error
    cases = {
        '{"images": [': 'is no JSON',
        '{"images": [{"id": 1}]}': 'lists of images, annotations, categories',
        '{"images": [], "annotations": [], "categories": []}': 'no images',
    }
    file = coco_file(tmp_path, 'instances_train2017')
    file.parent.mkdir()
    for text, expected in cases.items():
        file.write_text(text)
        error = refusal(COCO, tmp_path)
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
    root = make_coco(tmp_path / 'own', train2017=5, val2017=2)
    content = read_coco(root, 'instances_val2017')
    for number, image in enumerate(content['images'], 1):
        file = root / 'val2017' / image['file_name']
        image.update(id=number, file_name=f'{number:012d}.jpg')
        content['annotations'][number - 1]['image_id'] = number
        file.rename(file.with_name(image['file_name']))
    coco_file(root, 'instances_val2017').write_text(json.dumps(content))
    return root


def test_shared_images_of_coco_are_found(refusal, own_data):
    """By their content, as names and ids say nothing."""
    printed = run_here(COCO, own_data, *OWN)
    assert len(ids(read_coco(own_data, 'detnas_search_own'))) == 2
    assert 'train, search and test (2 images) share no image' in printed
    files = sorted((own_data / 'train2017').glob('*.jpg'))
    other = own_data / 'val2017' / f'{2:012d}.jpg'
    other.write_bytes(files[0].read_bytes())
    error = refusal(COCO, own_data, *OWN)
    assert f'and test share 1 images, such as {files[0]}' in error
    # Of five equal images at least one is in each split.
    for file in files:
        file.write_bytes(files[1].read_bytes())
    error = refusal(COCO, own_data, *OWN)
    assert 'train and search share 1 images' in error


def test_own_data_need_their_files_and_options(refusal, own_data):
    for option in ('--img-dir', '--test-img-dir'):
        error = refusal(COCO, own_data, *OWN, option, 'elsewhere')
        assert f'elsewhere/{1:012d}.jpg; set {option} to' in error
    coco_file(own_data, 'instances_val2017').unlink()
    assert 'no annotations at' in refusal(COCO, own_data, *OWN)
    error = refusal(COCO, own_data, '--img-dir', 'train2017')
    assert '--ann-file' in error
    options = ('--ann-file', 'a.json', '--test-ann-file', 'b.json')
    assert '--img-dir' in refusal(COCO, own_data, *options)


def voc_file(root, year, split):
    return root / f'VOC{year}' / 'ImageSets' / 'Main' / f'{split}.txt'


def test_voc(refusal, tmp_path):
    assert 'give the folder of VOC2007 and VOC2012' in refusal(VOC, tmp_path)
    write_voc(tmp_path, CLASSES, VOC_COUNTS)
    test = voc_file(tmp_path, '2007', 'test')
    images = test.read_text()
    arguments = (VOC, tmp_path, '--search-images', 4)
    test.write_text('000001\n')
    error = refusal(*arguments)
    assert 'test2007 share 1 images, such as VOC2007/000001' in error
    test.unlink()
    assert 'unpack VOCtest2007' in refusal(*arguments)
    test.write_text(images)
    printed = run_here(*arguments)
    held_out = 0
    for year in ('2007', '2012'):
        train, search, trainval = (
            voc_file(tmp_path, year, name).read_text().split()
            for name in ('detnas_train', 'detnas_search', 'trainval')
        )
        assert sorted(train + search) == sorted(trainval)
        held_out += len(search)
    assert held_out == 4
    assert 'train: 8 images\nsearch: 4 images\n' in printed
    assert 'train, search and test (3 images) share no image' in printed


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


def test_imagenet_holds_out_of_each_class_alike(refusal, imagenet):
    error = refusal(IMAGENET, imagenet, '--images-per-class', 5)
    assert 'must be 1 to 4' in error
    assert not (imagenet / 'meta').exists()
    printed = run_here(IMAGENET, imagenet, '--images-per-class', 2)
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


def test_imagenet_reads_labels_from_meta(refusal, imagenet):
    arguments = (IMAGENET, imagenet, '--images-per-class', 1)
    for line in ('a.JPEG', 'a.JPEG cat', '3'):
        file = write_meta(imagenet, 'val', f'a.JPEG 0\n{line}\n')
        error = refusal(*arguments)
        assert f'line 2 of {file} must be' in error
        assert f'got {line!r}' in error
    lines = [f'x{number}.JPEG {number % 2}\n' for number in range(6)]
    write_meta(imagenet, 'train', ''.join(lines))
    write_meta(imagenet, 'val', '\na.JPEG 0\n\nthe b.JPEG 1\n \n')
    printed = run_here(*arguments)
    both = rows(imagenet, 'detnas_train') | rows(imagenet, 'detnas_search')
    assert both == dict(line.split() for line in lines)
    assert 'train, search and test (2 images)' in printed


def test_imagenet_with_a_flat_val_needs_labels(refusal, imagenet):
    for folder in list((imagenet / 'val').iterdir()):
        for image in folder.iterdir():
            image.rename(imagenet / 'val' / image.name)
        folder.rmdir()
    error = refusal(IMAGENET, imagenet, '--images-per-class', 2)
    assert f'no images in {imagenet}/val/<class>/' in error
    assert 'meta/val.txt' in error
    write_meta(imagenet, 'val', '\n')
    error = refusal(IMAGENET, imagenet, '--images-per-class', 2)
    assert 'val.txt lists no images' in error


def test_the_seed_decides_and_no_split_is_replaced(tmp_path, refusal):
    held_out, options = [], ('--search-images', 4, '--seed')
    for number, seed in enumerate((0, 0, 1)):
        root = make_coco(tmp_path / str(number), train2017=12)
        run_here(COCO, root, *options, seed)
        held_out.append(ids(read_coco(root, 'detnas_search2017')))
    assert held_out[0] == held_out[1] != held_out[2]
    run_here(COCO, root, *options, 1)
    assert 'holds another split' in refusal(COCO, root, *options, 0)
    assert ids(read_coco(root, 'detnas_search2017')) == held_out[2]
