"""Images with boxes from a folder: COCO, Roboflow, YOLO or Pascal VOC."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import hotcoco
import yaml
from PIL import Image

from detnas_mm.structures.coco_annotation import CleanAnnotations
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import file_digest

# Names of splits in data sets, and the one used here.
SPLITS = {
    'train': 'train',
    'val': 'valid',
    'valid': 'valid',
    'validation': 'valid',
    'test': 'test',
}
# A data set without splits.
ALL = 'all'
_PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
_ROBOFLOW = '_annotations.coco.json'
# Files of COCO beside those with boxes.
_NOT_BOXES = re.compile('captions|keypoints|panoptic|stuff|image_info')
# The EXIF tag, and its values that swap width and height.
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)


class Box(NamedTuple):
    """A box in pixels; ``x`` and ``y`` are its upper left corner."""

    name: str
    x: float
    y: float
    width: float
    height: float
    is_crowd: bool


@dataclass(frozen=True)
class LabeledImage:
    """An image file, the digest of its content, and its boxes.

    ``size`` is width and height of the image to which they refer: as its EXIF
    data turn it, if ``is_turned``, which is None if that makes no difference.
    """

    file: Path
    digest: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    is_turned: bool | None


@dataclass(frozen=True)
class Dataset:
    """The format of a folder, its images by split, and what looks wrong.

    Splits are ``train``, ``valid`` and ``test``, or ``all``.
    """

    kind: str
    splits: Mapping[str, Sequence[LabeledImage]]
    notes: Sequence[str]


def read_dataset(root: Path, ann_files: Mapping[str, Path]) -> Dataset:
    """Read the images of a folder and their boxes.

    ``ann_files`` are files in COCO's format by split. Without them, format
    and files are found by their names.

    Raises:
        InputError: If there is not exactly one data set that can be used.
    """
    if not root.is_dir():
        raise InputError(f'no folder {root}; give the folder of the images')
    found = {'COCO': dict(ann_files)} if ann_files else _find(root)
    if len(found) != 1:
        names = sorted(p.name + '/' * p.is_dir() for p in root.iterdir())
        have = f'no annotations, only {", ".join(names[:5]) or "nothing"}'
        have = ' and '.join(found) or have
        raise InputError(
            f'{root} has {have}; expected annotations/*.json (COCO), '
            'train/_annotations.coco.json (Roboflow), data.yaml (YOLO) or '
            'Annotations/*.xml (VOC); name others by --ann-file train=FILE'
        )
    ((kind, files),) = found.items()
    pictures = _Pictures(root)
    notes: list[str] = []
    if kind == 'YOLO':
        contents = _read_yolo(files[ALL], notes)
        notes += _lonely_labels(contents)
    elif kind == 'VOC':
        contents = _read_voc(root, files, pictures)
    else:
        contents = {s: _read_coco(f, s, pictures) for s, f in files.items()}
    splits = {
        split: _labeled(content, f'{split} of {root}', notes)
        for split, content in contents.items()
    }
    categories = (c for v in contents.values() for c in v['categories'])
    known = {category['name'].strip() for category in categories}
    images = (image for split in splits.values() for image in split)
    unused = sorted(known - {box.name for i in images for box in i.boxes})
    if unused:
        notes.append(f'classes without a box, left out: {", ".join(unused)}')
    return Dataset(kind, splits, notes)


def _find(root: Path) -> dict[str, dict[str, Path]]:
    """Return files or folders by split, for each format in a folder."""
    folders = {SPLITS[p.name]: p for p in root.iterdir() if p.name in SPLITS}
    coco = {s: f / _ROBOFLOW for s, f in folders.items()}
    coco = {s: file for s, file in coco.items() if file.is_file()}
    yolo = sorted(root.glob('*.y*ml'), key=lambda f: (f.stem != 'data', f))
    yolo = [f for f in yolo if f.stem == 'data' or 'names' in _read_yaml(f)]
    voc = {s: f for s, f in folders.items() if any(f.glob('*.xml'))}
    if any(root.glob('*.xml')) or any(root.glob('Annotations/*.xml')):
        voc = {ALL: root}
    found = {
        'COCO': coco or _by_name(root, [*root.glob('annotations/*.json')]),
        'YOLO': {ALL: yolo[0]} if yolo else {},
        'VOC': voc,
    }
    return {kind: files for kind, files in found.items() if files}


def _by_name(root: Path, files: list[Path]) -> dict[str, Path]:
    """Sort annotation files of COCO by the split in their names."""
    files = sorted(f for f in files if not _NOT_BOXES.search(f.stem))
    by_split: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_split[min(_splits(file.stem), default=ALL)].append(file)
    if len(by_split) < len(files) or (ALL in by_split and len(files) > 1):
        names = ', '.join(str(file.relative_to(root)) for file in files)
        raise InputError(
            f'{root} has {names}; name those to use by --ann-file train=FILE '
            'and, if there are such, valid=FILE test=FILE'
        )
    return {split: file for split, (file,) in by_split.items()}


def _splits(text: str) -> set[str]:
    words = re.findall('[a-z]+', text.lower())
    return {SPLITS[word] for word in words if word in SPLITS}


class _Pictures:
    """The image files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for folder, _, names in os.walk(root, followlinks=True):
            for name in names:
                if name.lower().endswith(_PICTURES):
                    self._by_name[name].append(Path(folder, name))
                    # As in many files of VOC.
                    stem = Path(name).stem
                    self._by_name[stem].append(Path(folder, name))

    def find_all(self, images: list[dict], beside: Path, split: str) -> None:
        """Replace the names of images by those of their files."""
        faults = []
        for image in images:
            name = str(image.get('file_name'))
            found = self._find(name, beside, split)
            image['file_name'] = str(found[0]) if found else ''
            if len(found) != 1:
                faults.append(f'{len(found) or "no"} images {name}')
        if faults:
            more = len(faults) - 1
            others = f' and {more} more names have such faults' * bool(more)
            raise InputError(
                f'{faults[0]} are below {self.root}, which an annotation '
                f'names; expected one{others}'
            )

    def _find(self, name: str, beside: Path, split: str) -> list[Path]:
        """Return the files of a name that may lack its folder."""
        for folder in (beside, self.root):
            if (folder / name).is_file():
                return [folder / name]
        # Some were written on Windows.
        files = self._by_name[PureWindowsPath(name).name]
        if len(files) > 1:
            parents = {f: str(f.parent.relative_to(self.root)) for f in files}
            files = [f for f in files if split in _splits(parents[f])]
        return files


def _read_coco(file: Path, split: str, pictures: _Pictures) -> dict:
    try:
        content = json.loads(file.read_text())
        images = content['images']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{file} holds no annotations of COCO: {error!r}'
        ) from error
    pictures.find_all(images, file.parent, split)
    return content


def _read_yaml(file: Path) -> dict:
    try:
        content = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        text = ' '.join(str(error).split())
        raise InputError(f'{file} is no YAML: {text}') from error
    return content if isinstance(content, dict) else {}


def _read_yolo(file: Path, notes: list[str]) -> dict[str, dict]:
    """Read labels of Ultralytics; hotcoco's reader takes no such folders."""
    settings = _read_yaml(file)
    names = settings.get('names')
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not all(type(i) is int for i in names):
        raise InputError(
            f'{file} has `names` {names!r}; expected the names of the classes '
            'as a list, or as a dictionary by number'
        )
    names = {number: str(name) for number, name in names.items()}
    base = file.parent / str(settings.get('path') or '')
    contents = {}
    for key, split in SPLITS.items():
        entries = settings.get(key) or []
        entries = [entries] if isinstance(entries, str) else entries
        images = {i for e in entries for i in _yolo_images(file, base, e)}
        labels = {image: _label_file(image) for image in sorted(images)}
        has_labels = any(label.is_file() for label in labels.values())
        if split == 'test' and images and not has_labels:
            notes.append(f'{key}: left out, as no image has labels')
        elif entries and not has_labels:
            example = next(iter(labels.values()), 'labels/NAME.txt')
            raise InputError(
                f'none of {len(labels)} images has a file of labels such as '
                f'{example}; add them, or leave the split out of the YAML file'
            )
        elif entries:
            contents[split] = _yolo_content(
                labels, names, has_keypoints='kpt_shape' in settings
            )
    if 'train' not in contents:
        raise InputError(
            f'{file} has no `train`, but {", ".join(map(str, settings))}'
        )
    return contents


def _yolo_images(file: Path, base: Path, entry: str) -> Iterator[Path]:
    """Yield the images of a folder or of a list."""
    # Roboflow writes ../train/images for train/images beside the file.
    names = entry, entry.removeprefix('../')
    places = [root / name for name in names for root in (base, file.parent)]
    place = next((place for place in places if place.exists()), None)
    if place is None:
        raise InputError(f'{file} names {entry}, but there is no {places[0]}')
    if place.is_dir():
        found = [f for f in place.rglob('*') if f.suffix.lower() in _PICTURES]
    else:
        lines = filter(None, map(str.strip, place.read_text().splitlines()))
        found = [
            place.parent / n if (place.parent / n).exists() else base / n
            for n in lines
        ]
    yield from (Path(os.path.abspath(image)) for image in found)


def _yolo_content(
    labels: Mapping[Path, Path], names: Mapping[int, str], has_keypoints: bool
) -> dict:
    """Read the files of labels of images."""
    content = {
        'images': [{'file_name': str(image)} for image in labels],
        'annotations': [],
        'categories': [{'id': i, 'name': name} for i, name in names.items()],
    }
    for number, (entry, file) in enumerate(
        zip(content['images'], labels.values(), strict=True)
    ):
        entry['id'] = number
        entry['width'], entry['height'], _ = _read_size(entry['file_name'])
        lines = file.read_text().splitlines() if file.is_file() else ()
        for line in filter(str.strip, lines):
            label, box = _yolo_box(line, entry, has_keypoints)
            if label not in names:
                raise InputError(
                    f'{file} has the line {line!r}; expected a class of the '
                    'YAML file, and the center, width and height of a box in '
                    'shares of the image, or the corners of a polygon'
                )
            content['annotations'].append(
                {'image_id': number, 'category_id': label, 'bbox': box}
            )
    return content


def _label_file(image: Path) -> Path:
    before, found, after = str(image).rpartition('/images/')
    file = Path(f'{before}/labels/{after}' if found else image)
    return file.with_suffix('.txt')


def _lonely_labels(contents: Mapping[str, Mapping]) -> Iterator[str]:
    """Yield a note of labels whose images are not in a split."""
    images = (image for c in contents.values() for image in c['images'])
    known = {_label_file(Path(image['file_name'])) for image in images}
    # Elsewhere texts may be lists of images.
    folders = {f.parent for f in known if 'labels' in f.parts}
    lonely = {f for d in folders for f in d.glob('*.txt')} - known
    lonely = sorted(f for f in lonely if f.name != 'classes.txt')
    if lonely:
        yield f'{len(lonely)} files of labels lack an image, as {lonely[0]}'


def _yolo_box(
    line: str, image: Mapping, has_keypoints: bool
) -> tuple[float, list[float]]:
    """Return the class and the box of a line; class -1 if it has none."""
    try:
        label, *values = map(float, line.split())
    except ValueError:
        return -1, []
    if has_keypoints:
        values = values[:4]  # the box is before them
    if len(values) == 4:
        x, y, width, height = values
        x, y = x - width / 2, y - height / 2
    elif len(values) >= 6 and len(values) % 2 == 0:
        x, y = min(values[::2]), min(values[1::2])
        width, height = max(values[::2]) - x, max(values[1::2]) - y
    else:
        return -1, []
    sizes = (image['width'], image['height']) * 2
    box = zip((x, y, width, height), sizes, strict=True)
    # Shares have six digits: without rounding a pixel is a bit less than one.
    return label, [round(share * size, 2) for share, size in box]


def _read_voc(
    root: Path, files: Mapping[str, Path], pictures: _Pictures
) -> dict[str, dict]:
    contents = {}
    for split, folder in files.items():
        try:
            content = hotcoco.COCO.from_voc(str(folder)).dataset
        except (ValueError, OSError) as error:
            raise InputError(f'VOC in {folder}: {error}') from error
        beside = folder / 'JPEGImages'
        pictures.find_all(content['images'], beside, split)
        contents[split] = content
    lists = root / 'ImageSets/Main'
    found = {
        SPLITS[f.stem]: f for f in lists.glob('*.txt') if f.stem in SPLITS
    }
    if 'train' not in found and (lists / 'trainval.txt').is_file():
        found['train'] = lists / 'trainval.txt'
    if ALL not in contents or 'train' not in found:
        return contents
    return {split: _select(contents[ALL], f) for split, f in found.items()}


def _select(content: Mapping, file: Path) -> dict:
    """Return the images that a list of VOC names, with their boxes."""
    lines = map(str.split, file.read_text().splitlines())
    wanted = {words[0] for words in lines if words}
    by_name = {Path(i['file_name']).stem: i for i in content['images']}
    if not wanted <= by_name.keys():
        missing = min(wanted - by_name.keys())
        raise InputError(f'{file} names {missing}, which has no annotation')
    images = [by_name[name] for name in sorted(wanted)]
    ids = {image['id'] for image in images}
    boxes = [a for a in content['annotations'] if a['image_id'] in ids]
    return {**content, 'images': images, 'annotations': boxes}


def _read_size(file: str | Path) -> tuple[int, int, bool]:
    """Return width and height as stored, and whether EXIF data swap them."""
    try:
        with Image.open(file) as image:
            is_turned = image.getexif().get(_ORIENTATION) in _TURNED
            return *image.size, is_turned
    except OSError as error:
        raise InputError(f'{file} is no image that can be read') from error


def _labeled(content: dict, name: str, notes: list[str]) -> list[LabeledImage]:
    """Return the images of annotations in COCO's format."""
    turned = {}
    for image in content['images']:
        width, height, has_turn = _read_size(image['file_name'])
        size = image.get('width'), image.get('height')
        if not all(size):
            size = width, height
        allowed = ((width, height), (height, width))[: 1 + has_turn]
        if size not in allowed:
            raise InputError(
                f'{image["file_name"]} has {width} x {height} pixels, but its '
                f'annotation {size[0]} x {size[1]}; correct one of them'
            )
        image['width'], image['height'] = size
        is_same = not has_turn or width == height
        turned[image['file_name']] = None if is_same else size[0] != width
    cleaned = CleanAnnotations(content, name)
    if cleaned.refused:
        raise InputError(str(cleaned.refused[0]))
    if cleaned.noted:
        notes.append(f'{name}: {cleaned.describe("noted")}')
    names = {c['id']: c['name'].strip() for c in content['categories']}
    boxes: dict[int, list[Box]] = defaultdict(list)
    for annotation in content['annotations']:
        label, box = annotation['category_id'], annotation['bbox']
        # mmdet leaves out smaller boxes, but they would count as not found.
        if label in names and min(box[2:]) >= 1:
            box = Box(names[label], *box, bool(annotation['iscrowd']))
            boxes[annotation['image_id']].append(box)
    return [
        LabeledImage(
            Path(image['file_name']),
            file_digest(image['file_name']),
            (image['width'], image['height']),
            tuple(boxes[image['id']]),
            turned[image['file_name']],
        )
        for image in content['images']
    ]
