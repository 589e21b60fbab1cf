"""The header of a search's record, from its config."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from mmengine.config import Config

from detnas_mm.cost import Constraint
from detnas_mm.engine.data_checks import annotation_files
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.models import DetNASSupernet
from detnas_mm.structures import SearchHeader
from detnas_mm.structures.config_text import imported_modules
from detnas_mm.utils.files import file_digest, text_digest

# What a score depends on. The rest of a config (logging, schedule, work dir)
# may change when a search is resumed.
_SCORING_KEYS = (
    'custom_hooks',
    'model',
    'train_dataloader',
    'val_dataloader',
    'val_evaluator',
)
# What the result of a training depends on beside these.
_TRAINING_KEYS = ('optim_wrapper', 'param_scheduler', 'train_cfg')
# How data are loaded does not change scores.
_LOADING_KEYS = (
    'num_workers',
    'persistent_workers',
    'pin_memory',
    'prefetch_factor',
)


def build_header(
    config: Config,
    settings: SearchSettings,
    *,
    supernet: DetNASSupernet,
    constraint: Constraint,
    algorithm: Mapping,
    planned: int,
) -> SearchHeader:
    """Builds the header of a search.

    ``algorithm`` has type and settings of the algorithm, ``planned`` is the
    number of candidates to evaluate.
    """
    text = scoring_text(config, settings)
    algorithm = dict(algorithm)
    if settings.lookahead:
        # Parents are then of an earlier generation.
        algorithm['lookahead'] = settings.lookahead
    return SearchHeader(
        config=text,
        config_digest=text_digest(text),
        checkpoint=str(config.load_from),
        checkpoint_digest=file_digest(config.load_from),
        search_space=supernet.search_space.to_dict(),
        constraint=constraint.to_dict(),
        algorithm=algorithm,
        metric=settings.metric,
        objectives=list(settings.objectives),
        seed=settings.seed,
        shuffle=supernet.shuffle,
        imports=imported_modules(config),
        planned=planned,
        patience=settings.patience,
    )


def scoring_text(config: Config, search: SearchSettings) -> str:
    """Returns what scores depend on in a config, as JSON.

    The contents of annotation files are part of it, the contents of images
    are not.
    """
    # Annotation files before they were corrected: their copies may move.
    settings = config.to_dict() | (config.get('original_data') or {})
    scoring = {key: settings.get(key) for key in _SCORING_KEYS}
    # MMEngine gives it to a model without a `data_preprocessor`.
    if 'data_preprocessor' in settings:
        scoring['data_preprocessor'] = settings['data_preprocessor']
    scoring['fp16'] = search.fp16
    if search.training is not None:
        scoring['training'] = asdict(search.training)
        scoring |= {key: settings.get(key) for key in _TRAINING_KEYS}
    scoring['annotations'] = {
        file: file_digest(file)
        for file in annotation_files(Config(settings), ('train', 'val'))
    }
    for key in ('train_dataloader', 'val_dataloader'):
        scoring[key] = {
            name: value
            for name, value in (scoring[key] or {}).items()
            if name not in _LOADING_KEYS
        }
    return json.dumps(scoring, indent=1, sort_keys=True, default=str)
