"""Safe reading of checkpoints, and checks that their keys fit."""

import io
import logging
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.model import PretrainedInit
from torch import Tensor, nn

from detnas_mm.models.numpy_pickle import load_numpy_pickle
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

# First bytes of files of torch.save before torch 1.6, and of zip archives.
_TORCH_LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
_ARCHIVE = b'PK\x03\x04'
# Messages of torch and pickle about incomplete files.
_DAMAGE = re.compile(
    'PytorchStreamReader failed reading|unexpected EOF|truncated|Ran out of'
)
# Keys of the weights in checkpoints of OpenMMLab and the authors' ImageNet
# code, of maskrcnn-benchmark, and of Detectron.
_WEIGHTS_KEYS = ('state_dict', 'model', 'blobs')


def read_checkpoint(path: str | os.PathLike) -> Mapping:
    """Read a file of ``torch.save``, or a pickle of numpy arrays.

    Files that would run code are refused.
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
    """Read the weights of a local checkpoint, see :func:`read_checkpoint`."""
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
    """Return the weights under a prefix, without the prefix."""
    return {
        key.removeprefix(prefix): value
        for key, value in state_dict.items()
        if key.startswith(prefix)
    }


def save_checkpoint(checkpoint: Mapping, file: str | os.PathLike) -> None:
    """Write a checkpoint completely or not at all."""
    write_atomically(file, serialized(checkpoint))


def serialized(checkpoint: Mapping) -> bytes:
    """Return a checkpoint as the bytes of a file."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


def require_matching_keys(
    module: nn.Module, state_dict: Mapping[str, Tensor], source: str
) -> None:
    """Check that weights from ``source`` have a module's keys and shapes."""
    expected = module.state_dict()
    found = {
        'missing': [key for key in expected if key not in state_dict],
        'left over': [key for key in state_dict if key not in expected],
        'of another shape': [
            f'{key} {tuple(state_dict[key].shape)} for {tuple(value.shape)}'
            for key, value in expected.items()
            if key in state_dict and state_dict[key].shape != value.shape
        ],
    }
    problems = [_listing(kind, keys) for kind, keys in found.items() if keys]
    if problems:
        raise InputError(
            f'{source} does not fit {type(module).__name__}: '
            f'{"; ".join(problems)}'
        )


def require_matching_pretrained(
    module: nn.Module, init_cfg: Mapping | Sequence[Mapping] | None
) -> None:
    """Check the checkpoint of an ``init_cfg`` of type ``Pretrained``.

    MMEngine itself loads the keys that fit and only logs the others.
    """
    if isinstance(init_cfg, Mapping):
        init_cfg = [init_cfg]
    for cfg in init_cfg or ():
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
        if cfg.get('prefix'):
            prefix = cfg['prefix'].rstrip('.') + '.'
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
    """Return the reason, without torch's advice to load unsafely."""
    refused = re.search(r'GLOBAL (\S+)', str(error))
    if refused:
        return f'it refers to {refused[1]}, which could run code'
    if 'weights_only' in str(error):
        return 'it holds more than weights, which could run code'
    is_short = isinstance(error, EOFError | IndexError | struct.error)
    if is_short or _DAMAGE.search(str(error)):
        return 'it is damaged or truncated; copy or save it again'
    return (str(error).strip().splitlines() or ['unreadable'])[0]


def _listing(kind: str, keys: Sequence[str], shown: int = 3) -> str:
    more = f' and {len(keys) - shown} more' if len(keys) > shown else ''
    return f'{len(keys)} {kind}: {", ".join(keys[:shown])}{more}'


def last_checkpoint(work_dir: str | os.PathLike) -> str | None:
    """Return the last whole checkpoint of a training, None without one.

    MMEngine notes its path, which is another one after a move. A training
    that was killed may leave a part of a file.
    """
    note = Path(work_dir, 'last_checkpoint')
    if not note.is_file():
        return None
    last = Path(work_dir, Path(note.read_text().strip()).name)
    kind, _, number = last.stem.partition('_')
    files = {
        int(file.stem.partition('_')[2]): file
        for file in Path(work_dir).glob(f'{kind}_*.pth')
        if file.stem.partition('_')[2].isdigit()
    }
    limit = int(number) if number.isdigit() else 0
    older = [files[n] for n in sorted(files, reverse=True) if n < limit]
    for file in (last, *older):
        # The end of a file has the list of its parts.
        if zipfile.is_zipfile(file):
            return str(file)
        print_log(f'{file} is missing or torn', 'current', logging.WARNING)
    raise InputError(
        f'no whole checkpoint is in {work_dir}, though {note} names one: '
        'begin without --resume, or give a checkpoint to --resume'
    )
