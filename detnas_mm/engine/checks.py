"""What is wrong with a config, said before MMEngine prints all of it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import nn

from detnas_mm.engine.config_parts import (
    built_type,
    datasets_of,
    evaluators_of,
    require_known_parts,
)
from detnas_mm.engine.missing_data import missing_file
from detnas_mm.models import DetNASNet, DetNASSupernet, build_model
from detnas_mm.models.checkpoint import require_matching_pretrained
from detnas_mm.utils.errors import InputError

# Larger annotation files take seconds to read.
_READ_BYTES = 50_000_000


def require_inputs(config: Config, parts: Sequence[str]) -> nn.Module:
    """Checks the model, the names and the files of a config.

    Args:
        config: The config.
        parts: Whose data are needed, of ``'train'``, ``'val'``, ``'test'``.

    Returns:
        The model, with random weights.

    Raises:
        InputError: If there is no model, or a setting or a name is wrong.
        InputError: If a file or folder is not there.
    """
    if 'model' not in config:
        raise InputError(
            'the config has no `model`; one that is inherited from, such as '
            'best_backbone.py, is no config of its own'
        )
    require_known_parts(config, parts)
    model = build_model(config)
    _require_matching_channels(model, config)
    for part in parts:
        for key, dataset in datasets_of(config, part):
            _require_files(dataset, key)
            _require_classes(dataset, key, config.model)
        for evaluator in evaluators_of(config, part):
            if not _is_elsewhere(evaluator):
                key = f'{part}_evaluator.ann_file'
                _require_path(evaluator.get('ann_file'), key)
    weights = config.get('load_from')
    if _is_missing(weights):
        raise InputError(f'no checkpoint at {weights}, the `load_from`')
    return model


def annotation_files(config: Config, parts: Sequence[str]) -> list[str]:
    """Returns the annotation files that a config names, those that are there.

    Args:
        config: The config.
        parts: Whose data, of ``'train'``, ``'val'``, ``'test'``.
    """
    named = []
    for part in parts:
        named += [_annotations(one) for _, one in datasets_of(config, part)]
        named += [one.get('ann_file') for one in evaluators_of(config, part)]
    files = {one for one in named if isinstance(one, str)}
    return sorted(file for file in files if Path(file).is_file())


def require_pretrained(model: nn.Module, config: Config) -> None:
    """Checks the checkpoint that a backbone of ours starts from.

    Args:
        model: What :func:`require_inputs` gave.
        config: The config.

    Raises:
        InputError: If there is none.
        InputError: If it does not fit.
    """
    backbone = getattr(model, 'backbone', None)
    if isinstance(backbone, DetNASSupernet | DetNASNet):
        init_cfg = config.model.backbone.get('init_cfg')
        require_matching_pretrained(backbone, init_cfg)


def _require_matching_channels(model: nn.Module, config: Config) -> None:
    """Else the first batch stumbles over it."""
    channels = getattr(getattr(model, 'backbone', None), 'out_channels', None)
    neck = config.model.get('neck')
    neck = neck[0] if isinstance(neck, Sequence) and neck else neck
    given = neck.get('in_channels') if isinstance(neck, Mapping) else None
    if not isinstance(given, Sequence) or not isinstance(channels, Sequence):
        return
    # The neck of YOLOv3 lists them from the last to the first.
    if list(given) not in (list(channels), list(channels)[::-1]):
        raise InputError(
            f'`model.neck.in_channels` is {list(given)}, but the backbone '
            f'gives {list(channels)} channels: set it so'
        )


def _require_files(dataset: Mapping, key: str) -> None:
    if _is_elsewhere(dataset):
        return
    root = dataset.get('data_root') or ''
    # What a tool makes comes first: it is named with the tool.
    _require_path(_annotations(dataset), f'{key}.{_setting_of(root)}')
    _require_path(root, f'{key}.data_root')
    prefix = dataset.get('data_prefix') or {}
    prefix = prefix if isinstance(prefix, Mapping) else {'img_path': prefix}
    for name, folder in prefix.items():
        folder = folder and os.path.join(root, str(folder))
        _require_path(folder, f'{key}.data_prefix.{name}')


def _is_elsewhere(settings: Mapping) -> bool:
    """Whether files are read from another place than a disk."""
    backend = (settings.get('backend_args') or {}).get('backend', 'local')
    return backend != 'local'


def _setting_of(root: str) -> str:
    """Names the setting to mend where annotations are not found."""
    return 'ann_file' if Path(root).is_dir() else 'data_root'


def _annotations(dataset: Mapping) -> str:
    file = dataset.get('ann_file')
    return file and os.path.join(dataset.get('data_root') or '', file)


def _require_path(file: object, key: str) -> None:
    """Checks a local file or folder; an empty name is none.

    Args:
        file: What the config names.
        key: The setting that it is made of.
    """
    if _is_missing(file):
        raise InputError(missing_file(str(file), key))


def _is_missing(file: object) -> bool:
    is_local = isinstance(file, str | Path) and '://' not in str(file)
    return is_local and str(file) != '' and not Path(file).exists()


def _require_classes(dataset: Mapping, key: str, model: Mapping) -> None:
    """Compares the classes of a data set with its file and the heads."""
    built = built_type(DATASETS, dataset)
    # Those of others, such as panoptic ones, are not all for a bbox_head.
    if getattr(built, '__name__', '') not in ('CocoDataset', 'VOCDataset'):
        return
    classes = (dataset.get('metainfo') or {}).get('classes')
    classes = built.METAINFO['classes'] if classes is None else classes
    # The name of a file is allowed, too.
    if isinstance(classes, str):
        return
    file = _annotations(dataset)
    if built.__name__ == 'CocoDataset' and file:
        _require_categories(file, classes, key)
    _require_enough_outputs(model, len(classes), key)


def _require_enough_outputs(
    model: Mapping, num_classes: int, key: str
) -> None:
    """Else the loss of the first batch has no output for a class."""
    heads = [
        model.get('bbox_head'),
        (model.get('roi_head') or {}).get('bbox_head'),
    ]
    for head in heads:
        # Cascade R-CNN has one for each of its stages.
        for one in [head] if isinstance(head, Mapping) else head or ():
            outputs = one.get('num_classes')
            if isinstance(outputs, int) and outputs < num_classes:
                raise InputError(
                    f'`{key}` has {num_classes} classes, but a bbox_head of '
                    f'the model has num_classes={outputs}: set it to '
                    f'{num_classes}, or `{key}.metainfo.classes` to those of '
                    'your data'
                )


def _require_categories(file: str, classes: Sequence[str], key: str) -> None:
    """MMDetection drops boxes of other classes, and shifts the labels."""
    if not Path(file).is_file() or Path(file).stat().st_size > _READ_BYTES:
        return
    try:
        content = json.loads(Path(file).read_text())
        names = [one['name'] for one in content.get('categories', ())]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f'{file}, which `{key}` reads, is no annotation file in the '
            f'format of COCO: {error!r}'
        ) from error
    missing = [name for name in classes if name not in names]
    if missing:
        raise InputError(
            f'`classes` in the `metainfo` of `{key}` are not those of '
            f'{file}: {missing[0]!r} is not among its categories, '
            f'{_listed(names)}'
        )


def _listed(names: Sequence[str], shown: int = 5) -> str:
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(map(repr, names[:shown])) + more
