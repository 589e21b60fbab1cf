"""Publish checkpoints: strip them and name them by their content."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor

from detnas_mm.models import (
    build_model,
    load_state_dict,
    read_checkpoint,
    require_matching_keys,
    serialized,
    weights_below,
)
from detnas_mm.registry import MODELS
from detnas_mm.structures import get_search_space
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import (
    bytes_digest,
    require_folder,
    write_atomically,
)

# The meta that describes the weights. The rest, such as the text of the
# config, contains names and folders of a machine.
_KEPT_META = (
    'search_space',
    'path',
    'shuffle',
    'bn_recalibrated',
    'converted_from',
    'dataset_meta',
    'epoch',
    'iter',
    'mmengine_version',
)
_BACKBONE = 'backbone.'


def publish(
    checkpoint: str | os.PathLike,
    out_dir: str | os.PathLike,
    name: str,
    *,
    backbone: Mapping | None = None,
    config: Config | None = None,
) -> Path:
    """Write the weights of a checkpoint to a file named by their hash.

    Optimizer, schedulers, logs and the text of the config are left out.

    Args:
        checkpoint: The checkpoint.
        out_dir: The folder to write to.
        name: First part of the file name.
        backbone: Config of the backbone that the weights must fit.
        config: Config of the model that the weights must fit.

    Returns:
        The file, ``{name}-{first 8 digits of its SHA-256}.pth``.

    Raises:
        InputError: If checkpoint or folder do not exist, or if the weights do
            not fit.
    """
    out_dir = Path(out_dir)
    require_folder(out_dir)
    content = read_checkpoint(checkpoint)
    if 'state_dict' not in content:
        raise InputError(
            f"{checkpoint} has no 'state_dict', expected a checkpoint of a "
            'training or of a converter'
        )
    _require_fit(
        load_state_dict(checkpoint), str(checkpoint), backbone, config
    )
    meta = content.get('meta', {})
    data = serialized(
        {
            'meta': {key: meta[key] for key in _KEPT_META if key in meta},
            'state_dict': content['state_dict'],
        }
    )
    file = out_dir / f'{name}-{bytes_digest(data)[:8]}.pth'
    write_atomically(file, data)
    return file


def _require_fit(
    state_dict: Mapping[str, Tensor],
    source: str,
    backbone: Mapping | None,
    config: Config | None,
) -> None:
    """Check that weights fit the config of their model or backbone."""
    weights = weights_below(_BACKBONE, state_dict)
    if not weights:
        keys = ', '.join(list(state_dict)[:3]) or 'no weights at all'
        raise InputError(
            f'{source} has no weights of a backbone: expected keys that '
            f'begin with {_BACKBONE!r}, got {keys}'
        )
    with torch.device('meta'):
        if config is not None:
            model = build_model(config, backbone)
            require_matching_keys(model, state_dict, source)
        elif backbone is not None:
            space = get_search_space(backbone['search_space'])
            stages = range(len(space.stage_blocks))
            net = MODELS.build({'out_indices': stages, **backbone})
            require_matching_keys(net, weights, f'the backbone of {source}')
