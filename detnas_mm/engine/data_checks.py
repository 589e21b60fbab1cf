"""What is wrong in the data of a config, found before the long work."""

import copy
import itertools
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.logging import print_log
from mmengine.registry import DATASETS, init_default_scope

from detnas_mm.datasets.checks import check_voc_list
from detnas_mm.structures.coco_annotation import CleanAnnotations, Problem
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import (
    require_writable,
    text_digest,
    write_atomically,
)

# Files that a tool makes, by the end of their paths, and the tool.
_MAKERS = {
    r'digits/(annotations|classification)': 'digits.py --out data/digits',
    r'annotations/(detnas_\w+|instances_minival)2014\.json': (
        'coco_search_split.py DATA_ROOT --year 2014'
    ),
    r'annotations/detnas_\w+2017\.json': 'coco_search_split.py DATA_ROOT',
    r'detnas_\w+\.json': 'coco_search_split.py DATA_ROOT --name NAME ...',
    r'ImageSets/Main/detnas_\w+\.txt': 'voc_search_split.py DATA_ROOT',
    r'meta/detnas_\w+\.txt': 'imagenet_search_split.py DATA_ROOT',
}


def require_data(config: Config, parts: Sequence[str]) -> None:
    """Checks the files and classes of a config, without building anything.

    Raises:
        InputError: If there is no model or checkpoint, or something is found
            by :func:`list_problems`, whose arguments these are.
    """
    if 'model' not in config:
        raise InputError(
            'the config has no `model`; a file to inherit from, such as '
            'best_backbone.py, is not a config on its own'
        )
    found, noted = list_problems(config, parts)
    for _, problem in noted:
        _warn(str(problem))
    problems = [str(problem) for _, problem in found]
    if len(problems) > 1:
        problems[0] += (
            f' (and {len(problems) - 1:,} more: list all by `python '
            'tools/misc/check_data.py CONFIG`)'
        )
    if problems:
        # The copies lack what is refused.
        for key, settings in config.pop('original_data', {}).items():
            config[key] = settings
        raise InputError(problems[0])
    if _is_missing(config.get('load_from')):
        raise InputError(
            f'no checkpoint at {config.load_from}, the `load_from`'
        )


def list_problems(
    config: Config, parts: Sequence[str]
) -> tuple[list[tuple[str, Problem]], list[tuple[str, Problem]]]:
    """Finds what is wrong in the data of a config.

    Where an annotation file would be scored wrongly, and the right values
    are plain, the config gets a corrected copy in its work dir. Entries that
    cannot be used are left out there.

    Args:
        config: The config. Its annotation files may change; the settings
            before are then in ``original_data``.
        parts: Parts that are needed, of ``'train'``, ``'val'``, ``'test'``.

    Returns:
        What is refused, and what only looks wrong, each with its part.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    original = {
        key: copy.deepcopy(settings)
        for key, settings in config.items()
        if key.endswith(('_dataloader', '_evaluator'))
    }
    data = _Data(config)
    for part in parts:
        for key, dataset in datasets_of(config, part):
            with data.listed(part):
                _require_files(dataset, key)
            with data.listed(part):
                data.use_dataset(part, key, dataset)
        for evaluator in evaluators_of(config, part):
            with data.listed(part):
                data.use_evaluator(part, evaluator)
    if any(copied for _, copied in data.known.values()):
        config.original_data = original
    _warn_of_shared(data.pictures)
    return data.problems, data.noted


def annotation_files(config: Config, parts: Sequence[str]) -> list[str]:
    """Returns the annotation files of parts of a config that exist."""
    named = []
    for part in parts:
        named += [_annotations(data) for _, data in datasets_of(config, part)]
        named += [e.get('ann_file') for e in evaluators_of(config, part)]
    files = {name for name in named if isinstance(name, str)}
    return sorted(file for file in files if Path(file).is_file())


def datasets_of(config: Config, part: str) -> Iterator[tuple[str, Mapping]]:
    """Yields key and settings of the data sets of a part that read files."""
    loader = config.get(f'{part}_dataloader') or {}
    key = f'{part}_dataloader.dataset'
    yield from _datasets_below(loader.get('dataset') or {}, key)


def evaluators_of(config: Config, part: str) -> list[Mapping]:
    """Returns the settings of the evaluators of a part, such as ``'val'``.

    An evaluator that holds others, such as mmdet's
    ``MultiDatasetsEvaluator``, is replaced by what it holds.
    """
    evaluators = _as_list(config.get(f'{part}_evaluator'))
    if len(evaluators) == 1:
        return _as_list(evaluators[0].get('metrics')) or evaluators
    return evaluators


def _as_list(settings: object) -> list[Mapping]:
    each = [settings] if isinstance(settings, Mapping) else settings
    if not isinstance(each, list | tuple):
        return []
    return [part for part in each if isinstance(part, Mapping)]


def _datasets_below(
    dataset: Mapping, key: str
) -> Iterator[tuple[str, Mapping]]:
    """Yields a data set, or those that it wraps."""
    if 'dataset' in dataset:
        yield from _datasets_below(dataset['dataset'], f'{key}.dataset')
    elif 'datasets' in dataset:
        for index, part in enumerate(dataset['datasets']):
            yield from _datasets_below(part, f'{key}.datasets.{index}')
    else:
        yield key, dataset


def _require_files(dataset: Mapping, key: str) -> None:
    if _is_remote(dataset):
        return
    root = dataset.get('data_root') or ''
    # First the file that a tool makes: its message names the tool.
    setting = 'ann_file' if Path(root).is_dir() else 'data_root'
    _require_path(_annotations(dataset), f'{key}.{setting}')
    _require_path(root, f'{key}.data_root')
    prefix = dataset.get('data_prefix') or {}
    prefix = prefix if isinstance(prefix, Mapping) else {'img_path': prefix}
    for name, folder in prefix.items():
        folder = folder and os.path.join(root, str(folder))
        _require_path(folder, f'{key}.data_prefix.{name}')


def _is_remote(settings: Mapping) -> bool:
    """Returns True if files are not read from a local disk."""
    backend = (settings.get('backend_args') or {}).get('backend', 'local')
    return backend != 'local'


def _annotations(dataset: Mapping) -> str:
    file = dataset.get('ann_file') or ''
    return file and os.path.join(dataset.get('data_root') or '', file)


def _require_path(file: object, key: str) -> None:
    """Checks a local file or folder; an empty name stands for none."""
    if not _is_missing(file):
        return
    for pattern, command in _MAKERS.items():
        if re.search(pattern, str(file)):
            raise InputError(
                f'no such file or folder: {file}; make it with '
                f'`python tools/dataset_converters/{command}`'
            )
    raise InputError(
        f'no such file or folder: {file}; set {key} in the config, or with '
        f'--cfg-options {key}=..., to where your data are'
    )


def _is_missing(file: object) -> bool:
    is_local = isinstance(file, str | Path) and '://' not in str(file)
    return is_local and str(file) != '' and not Path(file).exists()


def _class_of(dataset: Mapping) -> type | None:
    kind = dataset.get('type')
    if isinstance(kind, str):
        # `get` alone does not look into the default scope.
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind


def _reader(dataset: Mapping) -> str:
    """Returns the name of the class of mmdet that reads a data set.

    Others than ``CocoDataset`` and ``XMLDataset`` are not checked: panoptic
    data sets, for one, have classes beside a bbox_head's.
    """
    bases = getattr(_class_of(dataset), '__mro__', ())
    reads = [c.__name__ for c in bases if 'load_data_list' in vars(c)]
    return reads[0] if {*reads[:1]} & {'CocoDataset', 'XMLDataset'} else ''


def _classes(dataset: Mapping, key: str) -> tuple[str, ...]:
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        classes = _class_of(dataset).METAINFO.get('classes')
    if not isinstance(classes, str):
        classes = tuple(classes or ())
        for name in classes:
            if not isinstance(name, str) or classes.count(name) > 1:
                raise InputError(
                    f'`{key}.metainfo.classes` has the name {name!r}, '
                    'expected texts, each once; on a command line write '
                    "names of digits in quotes, as in ['0','1']"
                )
        return classes
    # mmdet takes the name of a file, too.
    if not Path(classes).is_file():
        raise InputError(
            f'`{key}.metainfo.classes` is the text {classes!r}, expected a '
            'list of names, or a file: one name needs a comma, as in '
            f'({classes!r},)'
        )
    return tuple(list_from_file(classes))


def _require_enough_outputs(model: Mapping, number: int, key: str) -> None:
    """Checks the heads, before a GPU fails with a device assertion."""
    heads = [
        model.get('bbox_head'),
        (model.get('roi_head') or {}).get('bbox_head'),
    ]
    # Cascade R-CNN has a head for each of its stages.
    for head in [head for entry in heads for head in _as_list(entry)]:
        outputs = head.get('num_classes')
        if isinstance(outputs, int) and outputs < number:
            raise InputError(
                f'`{key}` has {number} classes, but a bbox_head of the '
                f'model has num_classes={outputs}: set it to {number}, '
                f'or `{key}.metainfo.classes` to those of your data'
            )


class _Data:
    """What was found in the data of a config."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.problems: list[tuple[str, Problem]] = []
        self.noted: list[tuple[str, Problem]] = []
        # The usable content of each file, and the copy in its place.
        self.known: dict[str, tuple[Any, str | None]] = {}
        self.pictures: dict[str, set[str]] = defaultdict(set)
        self.classes: dict[str, list[set]] = defaultdict(list)
        # The first classes, and the data set that has them.
        self._order: tuple[str, ...] | None = None
        self._order_of = ''

    @contextmanager
    def listed(self, part: str) -> Iterator[None]:
        """Lists what is refused inside the block."""
        try:
            yield
        except InputError as error:
            self.problems.append((part, Problem('', str(error))))

    def use_dataset(self, part: str, key: str, dataset: dict) -> None:
        """Checks a data set, and gives it clean annotations."""
        reader, file = _reader(dataset), _annotations(dataset)
        if not reader:
            return
        classes = _classes(dataset, key)
        self._require_same_classes(classes, key)
        self.classes[part].append(set(classes))
        prefix, names, copied = dataset.get('data_prefix') or {}, [], None
        root = Path(dataset.get('data_root') or '')
        if _is_remote(dataset) or '://' in str(file):
            _warn(f'{file} is not checked, since it is no local file')
        elif reader == 'CocoDataset' and Path(file).is_file():
            content, copied = self._clean(part, file, classes)
            _require_categories(file, content, classes, key)
            root /= prefix.get('img', '')
            names = [image['file_name'] for image in content['images']]
        elif Path(file).is_file():
            root /= prefix.get('sub_data_root', '')
            folder = root / dataset.get('ann_subdir', 'Annotations')
            names, problems, noted = check_voc_list(file, folder, classes)
            self.problems += [(part, problem) for problem in problems]
            self.noted += [(part, problem) for problem in noted]
            if problems:
                copied = self._copy(file, '\n'.join(names))
            root /= dataset.get('img_subdir', 'JPEGImages')
            names = [f'{name}.jpg' for name in names]
        self.pictures[part] |= {os.path.abspath(root / n) for n in names}
        dataset['ann_file'] = copied or dataset['ann_file']
        _require_enough_outputs(self.config.model, len(classes), key)

    def use_evaluator(self, part: str, evaluator: dict) -> None:
        """Checks a metric of COCO, or one with the file of a data set."""
        file, kind = evaluator.get('ann_file'), evaluator.get('type')
        if _is_remote(evaluator) or not isinstance(file, str | Path):
            return
        _require_path(file, f'{part}_evaluator.ann_file')
        if not Path(file).is_file():
            return
        if getattr(kind, '__name__', str(kind)).endswith('CocoMetric'):
            content, _ = self._clean(part, file, self._order or ())
            # Several data sets may have different classes.
            classes = set.intersection(*self.classes[part] or [set()])
            key = f'{part}_dataloader.dataset'
            _require_categories(file, content, sorted(classes), key)
        _, copied = self.known.get(os.path.realpath(file), (None, None))
        evaluator['ann_file'] = copied or file

    def _require_same_classes(
        self, classes: tuple[str, ...], key: str
    ) -> None:
        """A label is a place in this list, in training and in a score."""
        if self._order is None:
            self._order, self._order_of = classes, key
        if classes != self._order:
            raise InputError(
                f'`{key}` has the classes {_shortened(classes)}, but '
                f'`{self._order_of}` has {_shortened(self._order)}: set '
                '`metainfo.classes` of both to the same list'
            )

    def _clean(
        self, part: str, file: str, order: Sequence[str]
    ) -> tuple[dict, str | None]:
        known = os.path.realpath(file)
        if known in self.known:
            return self.known[known]
        content = _read_json(file)
        # MMDetection numbers labels by the order of categories in each file.
        cleaned = CleanAnnotations(content, file, order)
        self.problems += [(part, problem) for problem in cleaned.refused]
        if cleaned.noted:
            text = f'left as it is: {cleaned.describe("noted")}'
            self.noted.append((part, Problem(file, text)))
        copied = None
        if cleaned.changed or cleaned.refused:
            copied = self._copy(file, json.dumps(cleaned.content))
        if cleaned.changed:
            _warn(
                f'{file}: {cleaned.describe("changed")} are corrected in a '
                f'copy, {copied}, which is used in its place'
            )
        self.known[known] = cleaned.content, copied
        return self.known[known]

    def _copy(self, file: str, text: str) -> str:
        folder = Path(self.config.get('work_dir') or 'work_dirs').absolute()
        require_writable(folder / 'annotations')
        name, end = os.path.splitext(os.path.basename(file))
        path = folder / f'annotations/{name}-{text_digest(text)[:8]}{end}'
        write_atomically(path, text)
        return str(path)


def _read_json(file: str) -> Any:
    try:
        return json.loads(Path(file).read_text())
    except ValueError as error:
        raise InputError(f'{file} holds no JSON: {error}') from error


def _warn_of_shared(pictures: Mapping[str, set[str]]) -> None:
    for first, second in itertools.combinations(pictures, 2):
        shared = pictures[first] & pictures[second]
        if shared:
            _warn(
                f'{first}_dataloader and {second}_dataloader share '
                f'{len(shared):,} images, such as {min(shared)}'
            )


def _shortened(names: Sequence[str]) -> str:
    more = f' and {len(names) - 5} more' if len(names) > 5 else ''
    return ', '.join(map(repr, names[:5])) + more


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)


def _require_categories(
    file: str, content: Mapping, classes: Sequence[str], key: str
) -> None:
    """MMDetection drops boxes of other classes, and shifts the labels."""
    names = [category['name'] for category in content['categories']]
    missing = [name for name in classes if name not in names]
    if missing:
        raise InputError(
            f'`classes` in the `metainfo` of `{key}` do not fit {file}: '
            f'{missing[0]!r} is not among its categories, {_shortened(names)}'
        )
