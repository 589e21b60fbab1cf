"""What is wrong in a config or checkpoint, found before the long work."""

import copy
import functools
import itertools
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from detnas_mm.cost import COSTS
from detnas_mm.datasets.checks import check_voc_list, clean_annotations
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.models import (
    DetNASNet,
    DetNASSupernet,
    build_model,
    load_state_dict,
    require_matching_keys,
    unwrap_model,
)
from detnas_mm.models.checkpoint import require_matching_pretrained
from detnas_mm.structures import SearchRecord
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import (
    require_writable,
    text_digest,
    write_atomically,
)

# What mmdet's CocoMetric gives for each of bbox and segm.
_COCO_SCORES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
# The method that reads annotations.
_READS = 'load_data_list'
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


def require_inputs(config: Config, parts: Sequence[str]) -> nn.Module:
    """Checks the data and the model of a config.

    Args:
        config: The config.
        parts: Parts that are needed, of ``'train'``, ``'val'``, ``'test'``.

    Returns:
        The model, with random weights.

    Raises:
        InputError: If a file is not there, or model and data do not fit
            together.
    """
    require_data(config, parts)
    model = build_model(config)
    require_matching_channels(model, config)
    return model


def require_data(config: Config, parts: Sequence[str]) -> None:
    """Checks the files and classes of a config, without building anything.

    Where an annotation file in COCO's format would be scored wrongly, and the
    right values are plain, the config gets a corrected copy in its work dir.

    Args:
        config: The config. Its annotation files may change; the settings
            before are then in ``original_data``.
        parts: Parts that are needed, of ``'train'``, ``'val'``, ``'test'``.

    Raises:
        InputError: If there is no model, a file is not there, a value in an
            annotation file cannot be used, or classes do not fit the
            annotations or the heads.
    """
    if 'model' not in config:
        raise InputError(
            'the config has no `model`; a file to inherit from, such as '
            'best_backbone.py, is not a config on its own'
        )
    init_default_scope(config.get('default_scope') or 'mmdet')
    for part in parts:
        for key, dataset in datasets_of(config, part):
            _require_files(dataset, key)
        for evaluator in evaluators_of(config, part):
            if not _is_remote(evaluator):
                key = f'{part}_evaluator.ann_file'
                _require_path(evaluator.get('ann_file'), key)
    _use_clean_annotations(config, parts)
    for part in parts:
        for key, dataset in datasets_of(config, part):
            _require_classes(dataset, key, config.model)
    if _is_missing(config.get('load_from')):
        raise InputError(
            f'no checkpoint at {config.load_from}, the `load_from`'
        )


def require_pretrained(model: nn.Module, config: Config) -> None:
    """Checks the checkpoint that a backbone of ours starts from.

    Args:
        model: The result of :func:`require_inputs`.
        config: The config.

    Raises:
        InputError: If there is none, or it does not fit.
    """
    backbone = getattr(model, 'backbone', None)
    if isinstance(backbone, DetNASSupernet | DetNASNet):
        init_cfg = config.model.backbone.get('init_cfg')
        require_matching_pretrained(backbone, init_cfg)


def annotation_files(config: Config, parts: Sequence[str]) -> list[str]:
    """Returns the annotation files of a config that exist.

    Args:
        config: The config.
        parts: Whose data, of ``'train'``, ``'val'``, ``'test'``.
    """
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


def require_new_record(path: Path, settings: SearchSettings) -> None:
    """Checks that no search is overwritten by mistake.

    Args:
        path: Where the record is to be.
        settings: The settings of the search.

    Raises:
        InputError: If there is a search, and neither ``resume`` nor
            ``overwrite`` is set.
    """
    allowed = settings.resume or settings.overwrite
    if allowed or not path.exists() or not SearchRecord.read(path).candidates:
        return
    raise InputError(
        f'{path.parent} already holds a search; resume it with --resume, '
        'replace it with --overwrite, or use another --work-dir'
    )


@contextmanager
def refuse_empty_split(name: str) -> Iterator[None]:
    """Names the data set if one built inside the block is empty.

    Args:
        name: Its data loader in the config.

    Raises:
        InputError: If it is empty.
    """
    try:
        yield
    except ValueError as error:
        # What MMEngine's data sets raise then.
        if 'need at least one array' not in str(error):
            raise
        raise InputError(
            f'the data set of `{name}` is empty: no image is in its ann_file '
            'and folder, or all are filtered out'
        ) from error


def require_known_metrics(
    evaluator: Evaluator, settings: SearchSettings
) -> None:
    """Checks the names of metrics where the evaluator is COCO's.

    The metrics of other evaluators are known once they have evaluated.

    Raises:
        InputError: If the evaluator does not give one of the metrics.
    """
    known = []
    # What mmdet's MultiDatasetsEvaluator puts before the names.
    prefixes = getattr(evaluator, 'dataset_prefixes', None)
    prefixes = [f'{prefix}/' for prefix in prefixes or ()]
    for metric in evaluator.metrics:
        if getattr(metric, 'format_only', False):
            raise InputError(
                '`val_evaluator` has format_only=True, which gives no '
                'metrics: set it to False for a search'
            )
    for index, metric in enumerate(evaluator.metrics):
        kinds = getattr(metric, 'metrics', [])
        name = type(metric).__name__
        is_plain = name in ('CocoMetric', 'ExactCocoMetric')
        special = {'proposal', 'proposal_fast'} & set(kinds)
        if not is_plain or special or metric.classwise:
            return
        scores = metric.metric_items or _COCO_SCORES
        prefix = prefixes[index] if index < len(prefixes) else ''
        known += [
            f'{prefix}{metric.prefix}/{kind}_{score}'
            for kind in kinds
            for score in scores
        ]
    for name in (settings.metric, *settings.maximize):
        if name not in known:
            raise InputError(
                f'the evaluator gives no {name!r}, choose one of '
                f'{", ".join(known)}; costs are {", ".join(COSTS)}'
            )


def require_batches(
    dataloader: DataLoader, name: str, all_images: bool = False
) -> None:
    """Checks that ``drop_last`` does not drop too much.

    Args:
        dataloader: The data loader.
        name: Its name in the config.
        all_images: Whether each image is needed, and not just a batch.

    Raises:
        InputError: If there is no batch, or an image would not be read.
    """
    number, size = len(dataloader.dataset), dataloader.batch_size
    if not dataloader.drop_last or isinstance(
        dataloader.sampler, InfiniteSampler
    ):
        return
    if not len(dataloader) or (all_images and number % size):
        raise InputError(
            f'`{name}` has drop_last=True and batch_size={size}, but its data '
            f'set has {number} images: the last {number % size} would not be '
            'read; set drop_last=False, or another batch_size'
        )


def require_same_images(dataset: Dataset, evaluator: Evaluator) -> None:
    """Checks that COCO metrics know exactly the images of a data set.

    Args:
        dataset: The data set.
        evaluator: Its evaluator.

    Raises:
        InputError: If an image is missing on one side, is another one, or
            would be evaluated twice.
    """
    datasets = itertools.repeat(dataset)
    if hasattr(evaluator, 'dataset_prefixes'):
        datasets = getattr(dataset, 'datasets', datasets)
    for metric, data in zip(evaluator.metrics, datasets, strict=False):
        # Without an annotation file the data set itself is the truth.
        known = getattr(getattr(metric, '_coco_api', None), 'imgs', None)
        if known is None or not hasattr(data, 'get_data_info'):
            continue
        infos = [data.get_data_info(index) for index in range(len(data))]
        read = {info['img_id']: info['img_path'] for info in infos}
        different = sorted(read.keys() ^ known.keys(), key=str)
        renamed = [
            key
            for key in read.keys() & known.keys()
            if os.path.basename(read[key])
            != os.path.basename(known[key].get('file_name', read[key]))
        ]
        problem = None
        if len(read) < len(infos):
            problem = 'an image id is read twice'
        elif different:
            problem = f'image {different[0]!r} is only on one side'
        elif renamed:
            problem = (
                f'image {renamed[0]!r} is {known[renamed[0]]["file_name"]} '
                f'there, but {read[renamed[0]]} is read'
            )
        if problem:
            raise InputError(
                'the annotation file of the metric must have the images of '
                f'`val_dataloader`: it has {len(known):,}, {len(infos):,} are '
                f'read; {problem}'
            )


def load_supernet(runner: Runner) -> None:
    """Loads the checkpoint of a search, which must have all of the weights.

    Raises:
        InputError: If there is none, or it does not fit.
    """
    model = unwrap_model(runner.model)
    checkpoint = runner.cfg.get('load_from')
    if not checkpoint:
        raise InputError(
            'a search needs the checkpoint of a trained supernet: '
            'tools/search.py CONFIG CHECKPOINT, or `load_from`'
        )
    state_dict = load_state_dict(checkpoint)
    try:
        source = f'{checkpoint}{_kind_of_weights(state_dict)}'
        require_matching_keys(model, state_dict, source)
    except InputError as error:
        raise InputError(
            'a search takes the checkpoint of stage 2, of this detector with '
            f'this supernet; {error}'
        ) from error
    model.load_state_dict(state_dict)


def _kind_of_weights(state_dict: Mapping[str, Tensor]) -> str:
    """Describes a checkpoint of another stage."""
    kinds = []
    if any(re.match(r'backbone\.blocks\.\d+\.\D', key) for key in state_dict):
        kinds.append('one network and no supernet')
    if any(key.startswith('head.') for key in state_dict):
        kinds.append('a classifier and no detector')
    return f', which holds {", ".join(kinds)},' if kinds else ''


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


def require_matching_channels(model: nn.Module, config: Config) -> None:
    """Checks that the neck takes the channels of the backbone.

    Raises:
        InputError: If it does not.
    """
    channels = getattr(getattr(model, 'backbone', None), 'out_channels', None)
    neck = (config.get('model') or {}).get('neck')
    neck = neck[0] if isinstance(neck, Sequence) and neck else neck
    given = neck.get('in_channels') if isinstance(neck, Mapping) else None
    if not isinstance(given, Sequence) or not isinstance(channels, Sequence):
        return
    # The neck of YOLOv3 lists them from the last to the first.
    if list(given) not in (list(channels), list(channels)[::-1]):
        raise InputError(
            f'`model.neck.in_channels` is {list(given)}, but the backbone '
            f'has {list(channels)} output channels: set it to these'
        )


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
    file = dataset.get('ann_file')
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


def _reader(dataset: Mapping) -> tuple[str, Sequence[str]]:
    """Returns which class of mmdet reads a data set, and its classes.

    Others than ``CocoDataset`` and ``XMLDataset`` are not checked: panoptic
    data sets, for one, have classes beside a bbox_head's.
    """
    kind = dataset.get('type')
    if isinstance(kind, str):
        # `get` alone does not look into the default scope.
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    reads = [c for c in getattr(kind, '__mro__', ()) if _READS in vars(c)]
    name = reads[0].__name__ if reads else ''
    if name not in ('CocoDataset', 'XMLDataset'):
        return '', ()
    classes = (dataset.get('metainfo') or {}).get('classes')
    classes = kind.METAINFO.get('classes') if classes is None else classes
    # The name of a file is allowed, too.
    return name, () if isinstance(classes, str) else classes or ()


def _require_classes(dataset: Mapping, key: str, model: Mapping) -> None:
    """Compares the classes of a data set with its lists and the heads."""
    name, classes = _reader(dataset)
    if name:
        _require_enough_outputs(model, len(classes), key)
    if name == 'XMLDataset' and _is_local_file(_annotations(dataset)):
        prefix = (dataset.get('data_prefix') or {}).get('sub_data_root', '')
        folder = Path(dataset.get('data_root') or '', prefix)
        check_voc_list(_annotations(dataset), folder, classes)


def _require_enough_outputs(
    model: Mapping, num_classes: int, key: str
) -> None:
    """Checks the heads, before a GPU fails with a device assertion."""
    heads = [
        model.get('bbox_head'),
        (model.get('roi_head') or {}).get('bbox_head'),
    ]
    # Cascade R-CNN has a head for each of its stages.
    for head in [head for entry in heads for head in _as_list(entry)]:
        outputs = head.get('num_classes')
        if isinstance(outputs, int) and outputs < num_classes:
            raise InputError(
                f'`{key}` has {num_classes} classes, but a bbox_head of the '
                f'model has num_classes={outputs}: set it to {num_classes}, '
                f'or `{key}.metainfo.classes` to those of your data'
            )


def _use_clean_annotations(config: Config, parts: Sequence[str]) -> None:
    """Checks annotation files in COCO's format, see :func:`require_data`."""
    read = functools.cache(_read_json)
    trained = [
        _annotations(dataset)
        for _, dataset in datasets_of(config, 'train')
        if _reader(dataset)[0] == 'CocoDataset'
    ]
    # MMDetection numbers labels by the order of categories in each file.
    order = []
    if trained and _is_local_file(trained[0]):
        with suppress(TypeError, KeyError, AttributeError):
            order = [c['name'] for c in read(trained[0])['categories']]

    @functools.cache
    def clean_copy(file: str) -> str | None:
        return _clean_copy(config, file, read(file), order)

    original = {}
    pictures: dict[str, set[str]] = {}
    is_changed = False
    for part in parts:
        for key in (f'{part}_dataloader', f'{part}_evaluator'):
            original[key] = copy.deepcopy(config.get(key))
        for key, dataset in datasets_of(config, part):
            file = _annotations(dataset)
            name, classes = _reader(dataset)
            if name != 'CocoDataset' or not _is_local_file(file):
                continue
            copied = clean_copy(file)
            _require_categories(file, read(file), classes, key)
            pictures.setdefault(part, set()).update(
                _pictures(dataset, read(file))
            )
            dataset['ann_file'] = copied or dataset['ann_file']
            is_changed |= copied is not None
        for evaluator in evaluators_of(config, part):
            file = evaluator.get('ann_file')
            kind = getattr(evaluator.get('type'), '__name__', None)
            kind = kind or str(evaluator.get('type')).rpartition('.')[2]
            if not kind.endswith('CocoMetric') or not _is_local_file(file):
                continue
            copied = clean_copy(file)
            evaluator['ann_file'] = copied or file
            is_changed |= copied is not None
    if is_changed:
        config.original_data = original
    _warn_of_shared(pictures)


def _read_json(file: str) -> dict:
    try:
        return json.loads(Path(file).read_text())
    except ValueError as error:
        raise InputError(
            f'{file} is not an annotation file in the format of COCO: it '
            f'holds no JSON, {error}'
        ) from error


def _clean_copy(
    config: Config, file: str, content: dict, order: Sequence[str]
) -> str | None:
    """Writes a corrected copy of an annotation file if it needs one."""
    cleaned = clean_annotations(content, file, order)
    if cleaned.noted:
        _warn(f'{file}: without influence: {cleaned.describe("noted")}')
    if not cleaned.changed:
        return None
    text = json.dumps(content)
    folder = Path(config.get('work_dir') or 'work_dirs', 'annotations')
    require_writable(folder)
    name = f'{Path(file).stem}-{text_digest(text)[:8]}.json'
    path = str((folder / name).absolute())
    write_atomically(path, text)
    _warn(
        f'{file}: {cleaned.describe("changed")} are corrected in a copy, '
        f'{path}, which is used in its place'
    )
    return path


def _pictures(dataset: Mapping, content: Mapping) -> Iterator[str]:
    prefix = (dataset.get('data_prefix') or {}).get('img', '')
    folder = os.path.join(dataset.get('data_root') or '', prefix)
    for image in content['images']:
        yield os.path.abspath(os.path.join(folder, image['file_name']))


def _warn_of_shared(pictures: Mapping[str, set[str]]) -> None:
    for first, second in itertools.combinations(pictures, 2):
        shared = pictures[first] & pictures[second]
        if shared:
            _warn(
                f'{first}_dataloader and {second}_dataloader share '
                f'{len(shared):,} images, such as {min(shared)}'
            )


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)


def _is_local_file(file: object) -> bool:
    return isinstance(file, str) and Path(file).is_file()


def _require_categories(
    file: str, content: Mapping, classes: Sequence[str], key: str
) -> None:
    """MMDetection drops boxes of other classes, and shifts the labels."""
    names = [category['name'] for category in content['categories']]
    missing = [name for name in classes if name not in names]
    if missing:
        shown = ', '.join(map(repr, names[:5]))
        more = f' and {len(names) - 5} more' if len(names) > 5 else ''
        raise InputError(
            f'`classes` in the `metainfo` of `{key}` do not fit {file}: '
            f'{missing[0]!r} is not among its categories, {shown}{more}'
        )
