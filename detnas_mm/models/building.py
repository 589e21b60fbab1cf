"""Models of configs, built without a Runner."""

import copy
from collections.abc import Mapping

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

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
