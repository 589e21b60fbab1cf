"""What a search needs, checked before it evaluates anything."""

from pathlib import Path

from mmengine.runner import Runner
from torch.utils.data import DataLoader

from detnas_mm.models import load_state_dict, require_matching_keys

from .bn_recalibration_hook import BNRecalibrationHook
from .unwrap import unwrap


def require_new_record(path: Path, resume: bool, overwrite: bool) -> None:
    """Makes sure that a search is not overwritten by mistake.

    Args:
        path: Where the record is to be.
        resume: Whether to go on with a search that is there.
        overwrite: Whether to drop it.

    Raises:
        FileExistsError: If there is a search, and neither is wanted.
        ValueError: If both are.
    """
    if resume and overwrite:
        raise ValueError('`resume` and `overwrite` exclude each other')
    if path.exists() and not resume and not overwrite:
        raise FileExistsError(
            f'{path.parent} already holds a search; go on with it by '
            '--resume, drop it by --overwrite, or use another --work-dir'
        )


def require_images(dataloader: DataLoader) -> None:
    """Makes sure that the search split is not empty.

    Args:
        dataloader: The data loader of the search split.

    Raises:
        ValueError: If it is.
    """
    if not len(dataloader.dataset):
        raise ValueError(
            'the search split is empty: the data set of `val_dataloader` has '
            'no image'
        )


def find_bn_recalibration(runner: Runner) -> BNRecalibrationHook:
    """Returns the hook that recomputes the BN statistics of a path.

    Raises:
        ValueError: If there is none.
    """
    for hook in runner.hooks:
        if isinstance(hook, BNRecalibrationHook):
            return hook
    raise ValueError(
        'a search needs BNRecalibrationHook: the running statistics of a '
        'supernet fit none of its paths; add '
        "dict(type='detnas_mm.BNRecalibrationHook') to `custom_hooks`"
    )


def load_supernet(runner: Runner) -> None:
    """Loads the checkpoint, which must have all of the weights.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        ValueError: If none is given, or it does not fit.
    """
    checkpoint = runner.cfg.get('load_from')
    if not checkpoint:
        raise ValueError(
            'a search needs the checkpoint of a trained supernet: '
            'tools/search.py CONFIG CHECKPOINT, or `load_from`'
        )
    model = unwrap(runner.model)
    state_dict = load_state_dict(checkpoint)
    require_matching_keys(model, state_dict, str(checkpoint))
    model.load_state_dict(state_dict)
