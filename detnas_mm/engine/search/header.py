"""What defines a search: the first line of its record."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mmengine.config import Config

from detnas_mm.cost import Constraint
from detnas_mm.engine.checks import annotation_files
from detnas_mm.models import DetNASSupernet
from detnas_mm.structures import SearchHeader, SearchRecord
from detnas_mm.structures.config_text import imported_modules
from detnas_mm.structures.record import VERSION
from detnas_mm.utils.files import file_digest, text_digest

# What a score depends on. The rest of a config (logging, schedule, work dir)
# may change between a search and its continuation.
_SCORING_KEYS = (
    'custom_hooks',
    'model',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
)
# How data are loaded does not change them.
_LOADING_KEYS = (
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
)


def build_search_header(
    config: Config,
    *,
    checkpoint: str,
    supernet: DetNASSupernet,
    constraint: Constraint,
    algorithm: Mapping,
    metric: str,
    seed: int,
    planned: int = 0,
) -> SearchHeader:
    """Builds the header of a search.

    Args:
        config: The whole config.
        checkpoint: The supernet's checkpoint.
        supernet: The supernet.
        constraint: The bounds on the cost.
        algorithm: Name and settings of the algorithm.
        metric: Key of the metric that is the fitness.
        seed: Seed of the search.
        planned: How many candidates are to be evaluated.
    """
    text = scoring_text(config)
    return SearchHeader(
        config=text,
        config_digest=text_digest(text),
        checkpoint=str(checkpoint),
        checkpoint_digest=file_digest(checkpoint),
        search_space=supernet.search_space.to_dict(),
        constraint=constraint.to_dict(),
        algorithm=dict(algorithm),
        metric=metric,
        seed=seed,
        shuffle=supernet.shuffle,
        imports=imported_modules(config),
        planned=planned,
    )


def require_same_config(path: Path, config: Config) -> None:
    """Compares a config to the record that it is to go on with.

    What needs more than the config is compared when the record is opened.

    Args:
        path: The record; nothing is compared where there is none.
        config: The whole config.

    Raises:
        ValueError: If the record is that of another search.
    """
    if not path.exists():
        return
    record = SearchRecord.read(path)
    if not record.candidates:
        return
    text = scoring_text(config)
    current = replace(
        record.header,
        config=text,
        config_digest=text_digest(text),
        checkpoint_digest=file_digest(config.load_from),
        version=VERSION,
    )
    record.require_same(current)


def scoring_text(config: Config) -> str:
    """Returns what scores depend on in a config, as text.

    The contents of annotation files are part of it, those of images are not.

    Args:
        config: The whole config.
    """
    settings = config.to_dict()
    scoring = {key: settings.get(key) for key in _SCORING_KEYS}
    # The Runner gives it to a model that has none of its own.
    if 'data_preprocessor' in settings:
        scoring['data_preprocessor'] = settings['data_preprocessor']
    fp16 = (settings.get('val_cfg') or {}).get('fp16')
    scoring['fp16'] = fp16 if isinstance(fp16, str) else bool(fp16)
    scoring['annotations'] = {
        file: file_digest(file)
        for file in annotation_files(config, ('train', 'val'))
    }
    for key in ('train_dataloader', 'val_dataloader'):
        loader = scoring[key] or {}
        scoring[key] = {
            name: value
            for name, value in loader.items()
            if name not in _LOADING_KEYS
        }
    return json.dumps(scoring, indent=1, sort_keys=True, default=str)
