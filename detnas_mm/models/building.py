"""Building of models from configs without a Runner."""

import copy
from collections.abc import Mapping

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from detnas_mm.models.backbones.detnas_supernet import DetNASSupernet
from detnas_mm.models.checkpoint import require_matching_keys
from detnas_mm.utils.errors import InputError

# Settings of the backbone that a replacement inherits.
_KEPT = ('norm_cfg', 'out_indices')


def build_model(config: Config, backbone: Mapping | None = None) -> nn.Module:
    """Build the detector or classifier of a config, with random weights.

    ``backbone`` is the config of one that replaces the model's, such as
    ``dict(type='detnas_mm.DetNASNet', path=...)``.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    # Detectors modify the settings of their heads.
    model = copy.deepcopy(config.model)
    if backbone is not None:
        kept = {k: model.backbone[k] for k in _KEPT if k in model.backbone}
        model.backbone = kept | dict(backbone)
    return MODELS.build(model)


def require_detector(model: nn.Module) -> None:
    """Check that a model is a detector."""
    # mmdet's models cannot be imported before detnas_mm has patched mmcv.
    from mmdet.models.detectors import BaseDetector

    if not isinstance(model, BaseDetector):
        raise InputError(
            f'the config builds a {type(model).__name__}, expected a detector'
        )


def require_trained_network(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str
) -> None:
    """Check that weights make a model complete and that it is no supernet.

    MMEngine would load the keys that fit, and run a half-random model.
    """
    require_matching_keys(model, state_dict, source)
    if any(isinstance(part, DetNASSupernet) for part in model.modules()):
        raise InputError(
            'the config builds a supernet, which has no score without a path: '
            'score its paths by tools/search.py ... --paths, or extract one '
            'by tools/model_converters/supernet_to_subnet.py'
        )
