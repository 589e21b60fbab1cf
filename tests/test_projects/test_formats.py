"""Folders of images with boxes, in the formats that people have."""

import json
import re
import shutil

import numpy as np
import pytest
from kit.folders import (
    CLASSES,
    SPLITS,
    as_coco,
    make_images,
    save_images,
    splits_of,
    write_roboflow,
    write_voc,
    write_yolo,
)
from PIL import Image

from detnas_mm.projects.formats import read_dataset
from detnas_mm.projects.parts import (
    PARTS,
    annotation_text,
    class_names,
    is_turned,
    make_parts,
)
from detnas_mm.utils.errors import InputError

IMAGES = make_images(sum(SPLITS.values()))


def texts_of(root, **ann_files):
    """Returns the annotation file of each part, without names of images."""
    data = read_dataset(root, ann_files)
    parts, _ = make_parts(data.splits, valid_is='search', seed=0)
    texts = {}
    for name in PARTS:
        text = annotation_text(parts[name], class_names(parts), root)
        content = json.loads(text)
        for image in content['images']:
            assert (root / image['file_name']).is_file()
            image['file_name'] = ''
        texts[name] = json.dumps(content)
    return texts


def test_three_formats_of_the_same_data_give_the_same_bytes(tmp_path):
    write_voc(tmp_path / 'voc', IMAGES)
    write_yolo(tmp_path / 'yolo', IMAGES)
    write_roboflow(tmp_path / 'roboflow', IMAGES)
    voc = texts_of(tmp_path / 'voc')
    assert voc == texts_of(tmp_path / 'yolo')
    assert voc == texts_of(tmp_path / 'roboflow')
    content = json.loads(voc['train'])
    boxes = [i for i in IMAGES[: SPLITS['train']] for _ in i[1]]
    assert len(content['annotations']) == len(boxes)


@pytest.mark.parametrize('write', [write_voc, write_yolo, write_roboflow])
def test_boxes_cover_the_pixels_that_were_painted(tmp_path, write):
    write(tmp_path, IMAGES)
    data = read_dataset(tmp_path, {})
    seen = 0
    for images in data.splits.values():
        for image in images:
            pixels = np.array(Image.open(image.file))
            for box in image.boxes:
                label = CLASSES.index(box.name)
                x, y, width, height = map(round, box[1:5])
                inside = pixels[y : y + height, x : x + width, label]
                # Another box may have been painted over it in its color.
                assert (inside == 250).all()
                seen += 1
    assert seen == sum(len(boxes) for _, boxes in IMAGES)


def test_yolo_takes_lists_names_as_list_and_polygons(tmp_path):
    write_yolo(tmp_path, IMAGES)
    expected = texts_of(tmp_path)
    for split, key in (('train', 'train'), ('valid', 'val'), ('test', 'test')):
        files = sorted((tmp_path / 'images' / split).iterdir())
        lines = [f'./images/{split}/{file.name}' for file in files]
        (tmp_path / f'{key}.txt').write_text('\n'.join(lines))
    for file in (tmp_path / 'labels').rglob('*.txt'):
        polygons = []
        for line in file.read_text().splitlines():
            label, x, y, width, height = map(float, line.split())
            right, low = x + width / 2, y + height / 2
            left, top = x - width / 2, y - height / 2
            corners = (left, top, right, top, right, low, left, low)
            text = ' '.join(map(str, corners))
            polygons.append(f'{int(label)} {text}')
        file.write_text('\n'.join(polygons))
    (tmp_path / 'data.yaml').write_text(
        'train: train.txt\nval: [val.txt]\ntest: test.txt\n'
        f'names: {json.dumps(CLASSES)}\n'
    )
    assert texts_of(tmp_path) == expected


def test_a_box_of_one_pixel_is_the_same_in_six_digits(tmp_path):
    """The shares of a pixel are 0.0015625 and 0.0020833."""
    file = tmp_path / 'images/train/a.png'
    file.parent.mkdir(parents=True)
    Image.new('RGB', (640, 480)).save(file)
    labels = tmp_path / 'labels/train/a.txt'
    labels.parent.mkdir(parents=True)
    # 180, 328, as in a public data set of blood cells.
    labels.write_text('0 0.282031 0.684375 0.001563 0.002083\n')
    (tmp_path / 'data.yaml').write_text('train: images/train\nnames: [cat]\n')
    data = read_dataset(tmp_path, {})
    assert data.notes == []
    ((image,),) = data.splits.values()
    assert image.boxes == (('cat', 180, 328, 1, 1, False),)


@pytest.mark.parametrize(
    'names',
    ['', 'names:', 'names: cat', 'names: {0: cat, one: ant}', 'nc: 2'],
)
def test_yolo_needs_names_of_classes(tmp_path, names):
    write_yolo(tmp_path, IMAGES)
    (tmp_path / 'data.yaml').write_text(f'train: images/train\n{names}\n')
    with pytest.raises(InputError, match='data.yaml has `names` .*as a list'):
        read_dataset(tmp_path, {})


def test_images_of_yolo_without_any_labels(tmp_path):
    """Test images are often published without labels."""
    write_yolo(tmp_path, IMAGES)
    shutil.rmtree(tmp_path / 'labels/test')
    data = read_dataset(tmp_path, {})
    assert data.splits.keys() == {'train', 'valid'}
    assert data.notes == ['test: left out, as no image has labels']
    shutil.rmtree(tmp_path / 'labels/valid')
    file = re.escape(str(tmp_path / 'labels/valid/000.txt'))
    with pytest.raises(InputError, match=f'labels such as {file}'):
        read_dataset(tmp_path, {})


def test_keypoints_of_yolo_are_no_polygon(tmp_path):
    write_yolo(tmp_path, IMAGES)
    expected = texts_of(tmp_path)
    for file in (tmp_path / 'labels').rglob('*.txt'):
        lines = file.read_text().splitlines()
        file.write_text('\n'.join(f'{n} 0.1 0.1 2 0.9 0.9 2' for n in lines))
    with open(tmp_path / 'data.yaml', 'a') as file:
        file.write('kpt_shape: [2, 3]\n')
    assert texts_of(tmp_path) == expected


def test_labels_of_yolo_without_an_image_are_noted(tmp_path):
    write_yolo(tmp_path, IMAGES)
    assert read_dataset(tmp_path, {}).notes == []
    (tmp_path / 'images/train/001.png').unlink()
    file = tmp_path / 'labels/train/001.txt'
    assert read_dataset(tmp_path, {}).notes == [
        f'1 files of labels lack an image, as {file}'
    ]


def test_a_list_of_yolo_names_an_image_that_is_missing(tmp_path):
    write_yolo(tmp_path, IMAGES)
    names = 'images/train/000.png\nimages/train/none.png\n'
    (tmp_path / 'list.txt').write_text(names)
    (tmp_path / 'data.yaml').write_text('train: list.txt\nnames: [a, b]\n')
    file = re.escape(str(tmp_path / 'images/train/none.png'))
    with pytest.raises(InputError, match=file):
        read_dataset(tmp_path, {})


def test_voc_names_images_without_suffix_or_by_a_path_of_windows(tmp_path):
    write_voc(tmp_path, IMAGES)
    expected = texts_of(tmp_path)
    first, second, *_ = sorted((tmp_path / 'Annotations').iterdir())
    for file, name in (
        (first, first.stem),
        (second, f'C:\\data\\{second.stem}.png'),
    ):
        text = file.read_text()
        assert f'<filename>{file.stem}.png<' in text
        file.write_text(text.replace(f'>{file.stem}.png<', f'>{name}<'))
    assert texts_of(tmp_path) == expected


def test_a_class_without_boxes_is_noted_and_left_out(tmp_path):
    write_yolo(tmp_path, IMAGES)
    file = tmp_path / 'data.yaml'
    file.write_text(f'{file.read_text()}  2: zebra\n')
    data = read_dataset(tmp_path, {})
    assert data.notes == ['classes without a box, left out: zebra']
    parts, _ = make_parts(data.splits, valid_is='search', seed=0)
    assert class_names(parts) == sorted(CLASSES)


def test_yolo_of_roboflow_names_folders_beside_the_file(tmp_path):
    write_yolo(tmp_path / 'a', IMAGES)
    expected = texts_of(tmp_path / 'a')
    root = tmp_path / 'b'
    for split in SPLITS:
        for kind in ('images', 'labels'):
            shutil.copytree(tmp_path / 'a' / kind / split, root / split / kind)
    (root / 'data.yaml').write_text(
        'train: ../train/images\nval: ../valid/images\ntest: ../test/images\n'
        f'nc: 2\nnames: {json.dumps(CLASSES)}\n'
    )
    assert texts_of(root) == expected


def write_coco(root, name='instances_{}2017.json'):
    for split, part in splits_of(IMAGES).items():
        split = {'valid': 'val'}.get(split, split)
        names = [f'{i:03}.png' for i in range(len(part))]
        save_images(part, names, root / f'{split}2017')
        (root / 'annotations').mkdir(exist_ok=True)
        file = root / 'annotations' / name.format(split)
        file.write_text(json.dumps(as_coco(part, names)))


def test_coco_finds_images_of_the_same_name_in_the_folder_of_the_split(
    tmp_path,
):
    write_roboflow(tmp_path / 'roboflow', IMAGES)
    write_coco(tmp_path / 'coco')
    assert texts_of(tmp_path / 'coco') == texts_of(tmp_path / 'roboflow')


def test_files_of_other_names_are_given(tmp_path):
    write_coco(tmp_path)
    expected = texts_of(tmp_path)
    annotations = tmp_path / 'annotations'
    shutil.copy(
        annotations / 'instances_train2017.json', annotations / 'train_b.json'
    )
    with pytest.raises(InputError, match='train_b.json; name .* --ann-file'):
        read_dataset(tmp_path, {})
    given = {
        split: annotations / f'instances_{name}2017.json'
        for split, name in (
            ('train', 'train'),
            ('valid', 'val'),
            ('test', 'test'),
        )
    }
    assert texts_of(tmp_path, **given) == expected


def break_label(root):
    file = next((root / 'labels').rglob('*.txt'))
    file.write_text('2 0.5 0.5 0.1 0.1\n')
    return f'{file} has the line .2 0.5'


def break_list(root):
    (root / 'data.yaml').write_text('train: images/tra\nnames: [cat, ant]\n')
    return 'names images/tra, but there is no'


def remove_images(root):
    shutil.rmtree(root / 'labels')
    (root / 'data.yaml').unlink()
    shutil.rmtree(root / 'images')
    write_voc(root, IMAGES)
    for file in sorted(root.glob('JPEGImages/*'))[:2]:
        file.unlink()
    return 'no images .*.png are below .* and 1 more names have such faults'


def break_image(root):
    file = next((root / 'images').rglob('*.png'))
    file.write_bytes(file.read_bytes()[:20])
    return f'{file} is no image'


def add_second_format(root):
    (root / 'Annotations').mkdir()
    (root / 'Annotations/a.xml').write_text('<annotation/>')
    return 'has YOLO and VOC; expected'


def leave_nothing(root):
    shutil.rmtree(root / 'labels')
    (root / 'data.yaml').unlink()
    return 'has no annotations, only images/; expected'


@pytest.mark.parametrize(
    'fault',
    [
        break_label,
        break_list,
        break_image,
        remove_images,
        add_second_format,
        leave_nothing,
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, fault):
    write_yolo(tmp_path, IMAGES)
    with pytest.raises(InputError, match=fault(tmp_path)):
        read_dataset(tmp_path, {})


def test_difficult_objects_of_voc_do_not_count_as_missed(tmp_path):
    write_voc(tmp_path, IMAGES)
    file = next(
        file
        for file in sorted((tmp_path / 'Annotations').iterdir())
        if '<difficult>0</difficult>' in file.read_text()
    )
    text = file.read_text()
    file.write_text(text.replace('<difficult>0<', '<difficult>1<', 1))
    data = read_dataset(tmp_path, {})
    images = [i for part in data.splits.values() for i in part]
    assert sum(box.is_crowd for image in images for box in image.boxes) == 1


def write_turned(root, size):
    """Writes images that a camera stored on their side, with one size."""
    names = ['a.jpg', 'b.jpg', 'c.jpg']
    images = make_images(3)
    exif = Image.Exif()
    exif[274] = 6
    for name, (pixels, _) in zip(names, images, strict=True):
        Image.fromarray(pixels).save(root / name, exif=exif)
    content = as_coco(images, names)
    for image in content['images']:
        image['width'], image['height'] = size
    (root / 'boxes.json').write_text(json.dumps(content))
    data = read_dataset(root, {'train': root / 'boxes.json'})
    return make_parts(data.splits, valid_is='search', seed=0)[0]


def test_boxes_refer_to_images_as_their_annotations_say(tmp_path):
    assert not is_turned(write_turned(tmp_path, (64, 48)))
    assert is_turned(write_turned(tmp_path, (48, 64)))
    with pytest.raises(InputError, match='64 x 48 pixels, but .* 60 x 48'):
        write_turned(tmp_path, (60, 48))
