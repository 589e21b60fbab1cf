"""Checkpoints as they are handed on: stripped, and named by their content."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

import yaml

from detnas_mm.models import read_checkpoint, serialized
from detnas_mm.structures import SearchSpace, space_name
from detnas_mm.structures.files import write_atomically

from .exact_costs import exact_cost_table

# What of a checkpoint's meta says what the weights are. The rest, such as the
# text of the config, names the machine and its folders.
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
_INPUT_SIZE = (224, 224)


def publish(
    checkpoint: str | os.PathLike, out_dir: str | os.PathLike, name: str
) -> FilePath:
    """Writes the weights of a checkpoint under a name with their hash.

    Optimizer, schedulers, logs and the text of the config are left out.

    Args:
        checkpoint: The checkpoint.
        out_dir: The folder to write to.
        name: Beginning of the file's name.

    Returns:
        The file, ``{name}-{first 8 digits of its SHA-256}.pth``.

    Raises:
        FileNotFoundError: If there is no such checkpoint or folder.
        ValueError: If it holds no weights of a model.
    """
    out_dir = FilePath(out_dir)
    if not out_dir.is_dir():
        raise FileNotFoundError(f'no folder {out_dir} to write to')
    content = read_checkpoint(checkpoint)
    if 'state_dict' not in content:
        raise ValueError(
            f"{checkpoint} has no 'state_dict', expected a checkpoint of a "
            'training or of a converter'
        )
    meta = content.get('meta', {})
    published = {
        'meta': {key: meta[key] for key in _KEPT_META if key in meta},
        'state_dict': content['state_dict'],
    }
    data = serialized(published)
    digest = hashlib.sha256(data).hexdigest()
    file = out_dir / f'{name}-{digest[:8]}.pth'
    write_atomically(file, data)
    return file


@dataclass(frozen=True, kw_only=True)
class MetafileEntry:
    """A model of an OpenMMLab metafile.

    Attributes:
        name: Name of the model.
        weights: Name or address of the file of its weights.
        search_space: The search space.
        path: The path; ``None`` for a supernet.
        shuffle: Channel shuffle.
        config: Path of the config.
        task: Such as ``'Object Detection'``.
        dataset: Such as ``'COCO'``.
        metrics: Results by name, such as ``{'box AP': 36.6}``.
    """

    name: str
    weights: str
    search_space: SearchSpace
    path: Sequence[int] | None
    shuffle: str
    config: str | None = None
    task: str = 'Object Detection'
    dataset: str = 'COCO'
    metrics: Mapping[str, float] | None = None

    def to_dict(self) -> dict:
        """Returns the entry as a metafile has it."""
        space = self.search_space
        metadata = {
            'Search Space': space_name(space) or space.to_dict(),
            'Shuffle': self.shuffle,
        }
        if self.path is not None:
            table = exact_cost_table(space, _INPUT_SIZE)
            metadata |= {
                'Path': space.format_stages(self.path),
                'MACs (backbone, 224x224)': table.macs(self.path),
                'Parameters (backbone)': table.params(self.path),
            }
        entry = {'Name': self.name, 'In Collection': 'DetNAS'}
        if self.config:
            entry['Config'] = self.config
        entry['Metadata'] = metadata
        if self.metrics:
            entry['Results'] = [
                {
                    'Task': self.task,
                    'Dataset': self.dataset,
                    'Metrics': dict(self.metrics),
                }
            ]
        return entry | {'Weights': self.weights}


def write_metafile_entry(
    metafile: str | os.PathLike, entry: MetafileEntry
) -> None:
    """Adds a model to a metafile, or replaces the one of that name.

    Raises:
        ValueError: If the file is no metafile.
    """
    metafile = FilePath(metafile)
    content = {}
    if metafile.exists():
        content = yaml.safe_load(metafile.read_text()) or {}
    models = content.get('Models') if isinstance(content, dict) else None
    if content and not isinstance(models, list):
        raise ValueError(
            f'{metafile} is no metafile: expected a list of `Models` in it'
        )
    fields = entry.to_dict()
    models = list(models or [])
    names = [model.get('Name') for model in models]
    if entry.name in names:
        models[names.index(entry.name)] = fields
    else:
        models.append(fields)
    content = {**content, 'Models': models}
    write_atomically(
        metafile, yaml.safe_dump(content, sort_keys=False, width=79)
    )
