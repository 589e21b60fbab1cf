"""Extract the checkpoint of a path from the checkpoint of a supernet."""

from collections.abc import Mapping

from mmengine.config import Config
from mmengine.runner import Runner

from detnas_mm.engine.checks import require_inputs
from detnas_mm.engine.hooks.bn_recalibration_hook import BNRecalibrationHook
from detnas_mm.models import (
    extract_path,
    find_supernet,
    load_state_dict,
    require_matching_keys,
    resolve_architecture,
)


def extract_subnet(config: Config, checkpoint: str, path: str) -> dict:
    """Extract the weights of a path from the checkpoint of a supernet.

    BN statistics are recomputed as in a search if the config has a
    ``BNRecalibrationHook``.

    Args:
        config: Config of the supernet's training or search.
        checkpoint: Checkpoint of the supernet.
        path: Digits of the path, its published name, or the ``best.json`` of
            a search.

    Returns:
        A checkpoint of the same model with ``DetNASNet`` of that path.

    Raises:
        InputError: If a file is missing, or if path, checkpoint and config do
            not fit together.
    """
    # Checked before MMEngine prints the whole config.
    model = require_inputs(config, ('train',) if _recomputes(config) else ())
    space = find_supernet(model).search_space
    path = resolve_architecture(path, space).path
    state_dict = load_state_dict(checkpoint)
    require_matching_keys(model, state_dict, checkpoint)
    runner = Runner.from_cfg(config)
    model = runner.model
    supernet = find_supernet(model)
    model.load_state_dict(state_dict)
    hooks = [h for h in runner.hooks if isinstance(h, BNRecalibrationHook)]
    with supernet.activate(path):
        for hook in hooks:
            hook.before_val(runner)
        state_dict = {k: v.cpu() for k, v in model.state_dict().items()}
    meta = {
        'path': space.format(path),
        'search_space': space.to_dict(),
        'shuffle': supernet.shuffle,
        'bn_recalibrated': any(hook.num_images for hook in hooks),
    }
    return {'meta': meta, 'state_dict': extract_path(state_dict, path)}


def _recomputes(config: Config) -> bool:
    """Return True if BN statistics need the training images."""
    hooks = config.get('custom_hooks') or ()
    return any(
        str(hook.get('type')).endswith('BNRecalibrationHook')
        and hook.get('num_images', 1)
        and not hook.get('dataloader')
        for hook in hooks
        if isinstance(hook, Mapping)
    )
