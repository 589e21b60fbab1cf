"""What is wrong in a config or checkpoint, found before the long work."""

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from detnas_mm.cost import COSTS
from detnas_mm.engine.data_checks import require_data
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
from detnas_mm.structures import SearchRecord, metrics_among
from detnas_mm.utils.errors import InputError

# What mmdet's CocoMetric gives for each of bbox and segm.
_COCO_SCORES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


def require_inputs(config: Config, parts: Sequence[str]) -> nn.Module:
    """Checks the data and the model of a config.

    ``parts`` are those that are needed, of ``'train'``, ``'val'`` and
    ``'test'``. The model is returned, with random weights.

    Raises:
        InputError: If a file is not there, or model and data do not fit
            together.
    """
    require_data(config, parts)
    model = build_model(config)
    require_matching_channels(model, config)
    return model


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


def require_new_record(path: Path, settings: SearchSettings) -> None:
    """Checks that no search is overwritten by mistake, at a record's path.

    Raises:
        InputError: If there is a search, and neither ``resume`` nor
            ``overwrite`` is set. If a record to reuse is missing, or this.
    """
    for file in settings.reuse:
        if SearchRecord.read(file).path.resolve() == path.resolve():
            raise InputError(
                f'`--reuse {file}` is the work dir of this search itself; use '
                'another --work-dir for the new search'
            )
    allowed = settings.resume or settings.overwrite
    if allowed or not path.exists() or not SearchRecord.read(path).candidates:
        return
    raise InputError(
        f'{path.parent} already holds a search; resume it with --resume, '
        'replace it with --overwrite, or use another --work-dir'
    )


@contextmanager
def refuse_empty_split(name: str) -> Iterator[None]:
    """Names the loader of a data set that is built inside, and is empty."""
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
    for name in (settings.metric, *metrics_among(settings.objectives)):
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
    number, batches = len(dataloader.dataset), dataloader.batch_sampler
    is_endless = isinstance(dataloader.sampler, InfiniteSampler)
    if is_endless or not getattr(batches, 'drop_last', False):
        return
    size = batches.batch_size
    if not len(dataloader) or (all_images and number % size):
        raise InputError(
            f'`{name}` has drop_last=True and batch_size={size}, but its data '
            f'set has {number} images: the last {number % size} would not be '
            'read; set drop_last=False, or another batch_size'
        )


def require_same_images(dataset: Dataset, evaluator: Evaluator) -> None:
    """Checks that COCO metrics know exactly the images of a data set.

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
        read = {(i['img_id'], os.path.basename(i['img_path'])) for i in infos}
        different = read ^ {
            (key, os.path.basename(image['file_name']))
            for key, image in known.items()
        }
        missing = ()
        if _reads_coco(data):
            boxes = _boxes_read(infos, data.metainfo['classes'])
            missing = boxes - _boxes_of_truth(metric._coco_api)
        problem = None
        if len(read) < len(infos):
            problem = 'an image is read twice'
        elif different:
            first = min(different, key=str)
            problem = f'image {first[0]!r}, {first[1]}, is only on one side'
        elif missing:
            image, *box, name, crowd = min(missing, key=str)
            problem = (
                f'it lacks {len(missing):,} boxes that are read, such as '
                f'{box} of {name!r} in image {image}, crowd {crowd}'
            )
        if problem:
            raise InputError(
                'the annotation file of the metric must have the images of '
                f'`val_dataloader`: it has {len(known):,}, {len(infos):,} are '
                f'read; {problem}'
            )


def _reads_coco(data: Dataset) -> bool:
    inner = getattr(data, 'dataset', data)
    parts = getattr(inner, 'datasets', [inner])
    return all(hasattr(part, 'cat_ids') for part in parts)


def _boxes_read(
    infos: Sequence[Mapping], classes: Sequence[str]
) -> set[tuple]:
    return {
        (
            info['img_id'],
            *instance['bbox'],
            classes[instance['bbox_label']],
            bool(instance['ignore_flag']),
        )
        for info in infos
        for instance in info.get('instances', [])
    }


def _boxes_of_truth(api: Any) -> set[tuple]:
    boxes = set()
    for annotation in api.anns.values():
        x, y, width, height = annotation['bbox']
        name = api.cats.get(annotation['category_id'], {}).get('name')
        crowd = bool(annotation.get('iscrowd'))
        image = annotation['image_id']
        boxes.add((image, x, y, x + width, y + height, name, crowd))
    return boxes


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
