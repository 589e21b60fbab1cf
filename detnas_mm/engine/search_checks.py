"""What a search needs, checked before it evaluates anything."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import METRICS
from mmengine.runner import Runner
from torch import Tensor, nn

from detnas_mm.cost import COSTS
from detnas_mm.engine.config_parts import built_type, evaluators_of
from detnas_mm.engine.hooks.bn_recalibration_hook import BNRecalibrationHook
from detnas_mm.models import load_state_dict, require_matching_keys
from detnas_mm.models.unwrap import unwrap
from detnas_mm.structures import SearchRecord
from detnas_mm.utils.error_lines import suggestion
from detnas_mm.utils.errors import InputError

# What mmdet's CocoMetric gives of each of bbox and segm.
_COCO_SCORES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')


def require_new_record(
    path: Path, resume: bool, overwrite: bool, logger: logging.Logger
) -> None:
    """Makes sure that a search is not overwritten by mistake.

    Warns of a search that is to go on, but is not there.

    Args:
        path: Where the record is to be.
        resume: Whether to go on with a search that is there.
        overwrite: Whether to drop it.
        logger: Told of a search that is not there.

    Raises:
        InputError: If there is a search, and neither is wanted.
        InputError: If both are.
    """
    if resume and overwrite:
        raise InputError('`resume` and `overwrite` exclude each other')
    if _holds_search(path) and not resume and not overwrite:
        raise InputError(
            f'{path.parent} already holds a search; go on with it by '
            '--resume, drop it by --overwrite, or use another --work-dir'
        )
    if resume and not path.exists():
        logger.warning(
            f'Nothing to resume in {path.parent}: the search starts anew'
        )


def _holds_search(path: Path) -> bool:
    """Whether there is a record, and something in it besides its header."""
    if not path.exists():
        return False
    try:
        return bool(SearchRecord.read(path).candidates)
    except ValueError:
        return True


@contextmanager
def no_empty_split(name: str) -> Iterator[None]:
    """Says which data set is empty, if one is that the block builds.

    Args:
        name: Its data loader in the config.

    Raises:
        InputError: If it is empty.
    """
    try:
        yield
    except ValueError as error:
        # What MMEngine's data sets stumble over.
        if 'need at least one array' not in str(error):
            raise
        raise empty_split(name) from error


def empty_split(name: str) -> ValueError:
    """Returns the error that a data loader has no image."""
    return ValueError(
        f'the data set of `{name}` is empty: no image is in its ann_file and '
        'folder, or all are filtered out'
    )


def require_coco_metrics(config: Config) -> None:
    """Checks the names of metrics where the evaluator is that of COCO.

    What others give is only known once they have evaluated something.

    Args:
        config: The config of a search.

    Raises:
        InputError: If the evaluator does not give one of the metrics.
    """
    known = []
    for evaluator in evaluators_of(config, 'val'):
        kinds = evaluator.get('metric', 'bbox')
        kinds = [kinds] if isinstance(kinds, str) else kinds
        built = built_type(METRICS, evaluator)
        is_coco = getattr(built, '__name__', '') == 'CocoMetric'
        others = {'proposal', 'proposal_fast'} & set(kinds)
        if not is_coco or others or evaluator.get('classwise'):
            return
        prefix = evaluator.get('prefix') or 'coco'
        scores = evaluator.get('metric_items') or _COCO_SCORES
        known += [f'{prefix}/{kind}_{one}' for kind in kinds for one in scores]
    loop = config.val_cfg
    if not known or 'metric' not in loop:
        return
    for name in (loop.metric, *loop.get('maximise', ())):
        if name not in known:
            hint = suggestion(name, known, f'choose one of {", ".join(known)}')
            if loop.get('minimise') or loop.get('maximise'):
                hint += f'; costs are {", ".join(COSTS)}'
            raise InputError(f'the evaluator gives no {name!r}; {hint}')


def find_bn_recalibration(runner: Runner) -> BNRecalibrationHook:
    """Returns the hook that recomputes the BN statistics of a path.

    Raises:
        InputError: If there is none.
    """
    for hook in runner.hooks:
        if isinstance(hook, BNRecalibrationHook):
            return hook
    raise InputError(
        'a search needs BNRecalibrationHook: the running statistics of a '
        'supernet fit none of its paths; add '
        "dict(type='detnas_mm.BNRecalibrationHook') to `custom_hooks`"
    )


def load_supernet(runner: Runner) -> None:
    """Loads the checkpoint, which must have all of the weights.

    Raises:
        InputError: If there is no such checkpoint.
        InputError: If none is given, or it does not fit.
    """
    model = unwrap(runner.model)
    model.load_state_dict(read_supernet(model, runner.cfg.get('load_from')))


def read_supernet(
    model: nn.Module, checkpoint: str | None
) -> dict[str, Tensor]:
    """Reads the weights of a detector with a supernet.

    Args:
        model: The detector.
        checkpoint: The file.

    Raises:
        InputError: If there is no such checkpoint.
        InputError: If none is given, or it does not fit.
    """
    if not checkpoint:
        raise InputError(
            'a search needs the checkpoint of a trained supernet: '
            'tools/search.py CONFIG CHECKPOINT, or `load_from`'
        )
    state_dict = load_state_dict(checkpoint)
    try:
        source = f'{checkpoint}{_what_it_holds(state_dict)}'
        require_matching_keys(model, state_dict, source)
    except ValueError as error:
        raise InputError(
            'a search takes the checkpoint of stage 2, of this detector with '
            f'this supernet; {error}'
        ) from error
    return state_dict


def _what_it_holds(state_dict: Mapping[str, Tensor]) -> str:
    """Names what else a checkpoint of ours may be than a search needs."""
    held = []
    if any(re.match(r'backbone\.blocks\.\d+\.\D', key) for key in state_dict):
        held.append('one network and no supernet')
    if any(key.startswith('head.') for key in state_dict):
        held.append('a classifier and no detector')
    return f', which holds {", ".join(held)},' if held else ''
