"""Models of configs, built without a Runner."""

import copy
from collections.abc import Mapping

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.models.checkpoint import require_matching_keys
from detnas_mm.utils.errors import InputError

# Settings of a backbone that stay when another one takes its place.
_KEPT = ('norm_cfg', 'out_indices')


def build_model(config: Config, backbone: Mapping | None = None) -> nn.Module:
    """Builds the detector or classifier of a config, with random weights.

    Args:
        config: The config.
        backbone: Config of the backbone to build it with instead of its own,
            such as ``dict(type='detnas_mm.DetNASNet', path=...)``.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    # Detectors write into the settings of their heads.
    model = copy.deepcopy(config.model)
    if backbone is not None:
        kept = {k: model.backbone[k] for k in _KEPT if k in model.backbone}
        model.backbone = kept | dict(backbone)
    return MODELS.build(model)


def require_detector(model: nn.Module) -> None:
    """Makes sure that a model is a detector.

    Raises:
        InputError: If it is a classifier, say.
    """
    # Only after detnas_mm can mmdet's models be imported without mmcv's ops.
    from mmdet.models.detectors import BaseDetector

    if not isinstance(model, BaseDetector):
        raise InputError(
            f'the config is that of a {type(model).__name__}, expected that '
            'of a detector'
        )


def require_trained_network(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str
) -> None:
    """Makes sure that a model has an output of its own with some weights.

    MMEngine would load what fits, and run a half-random model.

    Args:
        model: The model.
        state_dict: The weights that are about to be loaded.
        source: Where they come from, for the message.

    Raises:
        InputError: If the weights are not those of the model, or it is a
            supernet.
    """
    require_matching_keys(model, state_dict, source)
    if any(isinstance(part, DetNASSupernet) for part in model.modules()):
        raise InputError(
            'the config is that of a supernet, which has no score of its own: '
            'score its paths by tools/search.py ... --paths, or take one out '
            'by tools/model_converters/supernet_to_subnet.py'
        )
