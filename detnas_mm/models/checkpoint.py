"""Checkpoints that fit: a missing or left-over key is an error."""

import io
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from mmengine.model import PretrainedInit
from torch import Tensor, nn

from detnas_mm.models.numpy_pickle import load_numpy_pickle
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

# How files of torch.save begin that are no zip archives (before torch 1.6).
_TORCH_LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_ARCHIVE = b'PK\x03\x04'
# What torch and pickle say of files that are not whole.
_DAMAGE = re.compile(
    'PytorchStreamReader failed reading|unexpected EOF|truncated|Ran out of'
)
# Under which keys checkpoints keep their weights: OpenMMLab's and the
# authors' ImageNet code, maskrcnn-benchmark, Detectron.
_WEIGHTS_KEYS = ('state_dict', 'model', 'blobs')


def read_checkpoint(path: str | os.PathLike) -> Mapping:
    """Reads a local checkpoint; no code in it is run.

    Args:
        path: A file of ``torch.save``, or a pickle of numpy arrays.

    Raises:
        InputError: If there is no such file.
        InputError: If it is not a checkpoint, or would run code.
    """
    if not os.path.isfile(path):
        raise InputError(f'no checkpoint at {path}')
    try:
        if _is_from_torch(path):
            content = torch.load(path, map_location='cpu', weights_only=True)
        else:
            content = load_numpy_pickle(path)
    except Exception as error:
        raise InputError(
            f'{path} is not a checkpoint that can be loaded safely: '
            f'{_reason(error)}'
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            f'{path} is not a checkpoint: expected a mapping of weights, got '
            f'{type(content).__name__}'
        )
    return content


def load_state_dict(path: str | os.PathLike) -> dict[str, Tensor]:
    """Reads the weights of a local checkpoint; no code in it is run.

    Raises:
        InputError: If there is no such file.
        InputError: If it is not a checkpoint, or would run code.
    """
    state_dict = read_checkpoint(path)
    for key in _WEIGHTS_KEYS:
        if isinstance(state_dict.get(key), Mapping):
            state_dict = state_dict[key]
            break
    return {
        key.removeprefix('module.'): _as_tensor(value, key, path)
        for key, value in state_dict.items()
    }


def weights_below(
    prefix: str, state_dict: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns the weights of a part of a model, by their names in it.

    Args:
        prefix: Beginning of their names, such as ``'backbone.'``.
        state_dict: The weights of the model.
    """
    return {
        key.removeprefix(prefix): value
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }


def save_checkpoint(checkpoint: Mapping, file: str | os.PathLike) -> None:
    """Writes a checkpoint completely or not at all."""
    write_atomically(file, serialized(checkpoint))


def serialized(checkpoint: Mapping) -> bytes:
    """Returns the content of the file of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def require_matching_keys(
    module: nn.Module, state_dict: Mapping[str, Tensor], source: str
) -> None:
    """Makes sure that a state dict is that of a module.

    Args:
        module: The module.
        state_dict: The weights that are about to be loaded.
        source: Where they come from, for the message.

    Raises:
        InputError: If a key is missing or left over, or has another shape.
    """
    expected = module.state_dict()
    missing = [key for key in expected if key not in state_dict]
    left_over = [key for key in state_dict if key not in expected]
    reshaped = [
        f'{key} {tuple(state_dict[key].shape)} for {tuple(value.shape)}'
        for key, value in expected.items()
        if key in state_dict and state_dict[key].shape != value.shape
    ]
    problems = [
        _listing('missing', missing),
        _listing('left over', left_over),
        _listing('of another shape', reshaped),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise InputError(
            f'{source} does not fit {type(module).__name__}: '
            f'{"; ".join(problems)}'
        )


def require_matching_pretrained(
    module: nn.Module, init_cfg: Mapping | Sequence[Mapping] | None
) -> None:
    """Checks the checkpoint of an ``init_cfg`` of type ``Pretrained``.

    MMEngine itself loads what fits and only logs what does not.

    Raises:
        InputError: If there is no such checkpoint.
        InputError: If it does not fit the module.
    """
    if not init_cfg:
        return
    for cfg in [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg:
        if cfg['type'] not in ('Pretrained', PretrainedInit):
            continue
        source = str(cfg['checkpoint'])
        if not os.path.isfile(source):
            raise InputError(
                f'no checkpoint at {source}, from which `init_cfg` starts '
                f'{type(module).__name__}: train that first, give another one '
                'by --cfg-options model.backbone.init_cfg.checkpoint=FILE, or '
                'start from scratch by model.backbone.init_cfg=None'
            )
        state_dict = load_state_dict(source)
        prefix = cfg.get('prefix')
        if prefix:
            prefix = prefix.rstrip('.') + '.'
            state_dict = weights_below(prefix, state_dict)
            source = f'{prefix}* of {source}'
        require_matching_keys(module, state_dict, source)


def _is_from_torch(path: str | os.PathLike) -> bool:
    with open(path, 'rb') as file:
        beginning = file.read(len(_TORCH_LEGACY))
    is_archive = beginning.startswith(_ARCHIVE)
    if is_archive and not zipfile.is_zipfile(path):
        raise EOFError('the archive has no end')
    return is_archive or beginning == _TORCH_LEGACY


def _as_tensor(value: object, key: str, path: str | os.PathLike) -> Tensor:
    if isinstance(value, np.ndarray | np.generic):
        value = torch.from_numpy(np.array(value))
    if not isinstance(value, Tensor):
        raise InputError(
            f'{path} is not a checkpoint: expected a mapping of weights, but '
            f'{key!r} is a {type(value).__name__}'
        )
    return value


def _reason(error: Exception) -> str:
    """Returns what is wrong, without torch's advice to run the code."""
    refused = re.search(r'GLOBAL (\S+)', str(error))
    if refused:
        return f'it refers to {refused[1]}, which could run code'
    if 'weights_only' in str(error):
        return 'it holds more than weights, which could run code'
    is_short = isinstance(error, EOFError | IndexError | struct.error)
    if is_short or _DAMAGE.search(str(error)):
        return 'it is damaged or truncated; copy it again, or save it anew'
    lines = str(error).strip().splitlines() or ['unreadable']
    return lines[0]


def _listing(what: str, keys: Iterable[str], shown: int = 3) -> str:
    keys = list(keys)
    if not keys:
        return ''
    more = f' and {len(keys) - shown} more' if len(keys) > shown else ''
    return f'{len(keys)} {what}: {", ".join(keys[:shown])}{more}'
