"""What is wrong with a config, said before MMEngine prints all of it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS
from torch import nn

from detnas_mm.error_lines import missing_file
from detnas_mm.models import build_model
from detnas_mm.models.checkpoint import require_matching_pretrained

from .config_parts import datasets_of, evaluators_of, require_known_parts

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
        ValueError: If a setting or a name is wrong.
        FileNotFoundError: If a file or folder is not there.
    """
    require_known_parts(config, parts)
    model = build_model(config)
    _require_matching_channels(model, config)
    for part in parts:
        for key, dataset in datasets_of(config, part):
            _require_files(dataset, key)
            _require_classes(dataset, key)
        for evaluator in evaluators_of(config, part):
            key = f'{part}_evaluator.ann_file'
            _require_path(evaluator.get('ann_file'), key)
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
        FileNotFoundError: If there is none.
        ValueError: If it does not fit.
    """
    backbone = config.model.get('backbone') or {}
    if str(backbone.get('type')).startswith('detnas_mm.'):
        init_cfg = backbone.get('init_cfg')
        require_matching_pretrained(model.backbone, init_cfg)


def _require_matching_channels(model: nn.Module, config: Config) -> None:
    """Else the first batch stumbles over it."""
    channels = getattr(getattr(model, 'backbone', None), 'out_channels', None)
    neck = config.model.get('neck')
    neck = neck[0] if isinstance(neck, Sequence) and neck else neck
    given = neck.get('in_channels') if isinstance(neck, Mapping) else None
    if not isinstance(given, Sequence) or not isinstance(channels, Sequence):
        return
    if list(given) != list(channels):
        raise ValueError(
            f'`model.neck.in_channels` is {list(given)}, but the backbone '
            f'gives {list(channels)} channels: set it so'
        )


def _require_files(dataset: Mapping, key: str) -> None:
    root = dataset.get('data_root') or ''
    # What a tool makes comes first: it is named with the tool.
    for file in (_annotations(dataset), root):
        _require_path(file, f'{key}.data_root')
    prefix = dataset.get('data_prefix') or {}
    folders = prefix.values() if isinstance(prefix, Mapping) else [prefix]
    for folder in folders:
        folder = folder and os.path.join(root, str(folder))
        _require_path(folder, f'{key}.data_root')


def _annotations(dataset: Mapping) -> str:
    file = dataset.get('ann_file')
    return file and os.path.join(dataset.get('data_root') or '', file)


def _require_path(file: object, key: str) -> None:
    """Checks a local file or folder; an empty name is none.

    Args:
        file: What the config names.
        key: The setting that it is made of.
    """
    is_local = isinstance(file, str | Path) and '://' not in str(file)
    if is_local and str(file) and not Path(file).exists():
        raise FileNotFoundError(missing_file(str(file), key))


def _require_classes(dataset: Mapping, key: str) -> None:
    """MMDetection drops boxes of other classes, and shifts the labels."""
    file = _annotations(dataset)
    if dataset.get('type') != 'CocoDataset' or not file:
        return
    if not Path(file).is_file() or Path(file).stat().st_size > _READ_BYTES:
        return
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        classes = DATASETS.get('mmdet.CocoDataset').METAINFO['classes']
    content = json.loads(Path(file).read_text())
    names = [one['name'] for one in content.get('categories', ())]
    missing = [name for name in classes if name not in names]
    if missing and not isinstance(classes, str):
        raise ValueError(
            f'`classes` in the `metainfo` of `{key}` are not those of '
            f'{file}: {missing[0]!r} is not among its categories, '
            f'{_listed(names)}'
        )


def _listed(names: Sequence[str], shown: int = 5) -> str:
    more = f' and {len(names) - shown} more' if len(names) > shown else ''
    return ', '.join(map(repr, names[:shown])) + more
