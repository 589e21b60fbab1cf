"""The supernet, searched backbones, and operations on their weights."""

from .aligned_init import AlignedInit
from .backbones.choice_blocks import MMRAZOR_CHOICES, build_choice_block
from .backbones.detnas_net import (
    PUBLISHED_PATHS,
    Architecture,
    DetNASNet,
    resolve_architecture,
)
from .backbones.detnas_supernet import (
    DetNASSupernet,
    extract_path,
    find_supernet,
    unwrap_model,
)
from .bn_recalibration import (
    recalibrate_bn,
    restore_bn_statistics,
    save_bn_statistics,
)
from .building import build_model, require_detector, require_trained_network
from .checkpoint import (
    last_checkpoint,
    load_state_dict,
    read_checkpoint,
    require_matching_keys,
    save_checkpoint,
    serialized,
    weights_below,
)
from .classification_neck import DetNASClsNeck
from .complexity import (
    count_cost,
    count_parts,
    count_rest_of_detector,
    exact_cost_table,
    extreme_paths,
    measured_cost_table,
)
from .converters.convert import ConvertedCheckpoint, convert_checkpoint

__all__ = [
    'MMRAZOR_CHOICES',
    'PUBLISHED_PATHS',
    'AlignedInit',
    'Architecture',
    'ConvertedCheckpoint',
    'DetNASClsNeck',
    'DetNASNet',
    'DetNASSupernet',
    'build_choice_block',
    'build_model',
    'convert_checkpoint',
    'count_cost',
    'count_parts',
    'count_rest_of_detector',
    'exact_cost_table',
    'extreme_paths',
    'extract_path',
    'find_supernet',
    'last_checkpoint',
    'load_state_dict',
    'measured_cost_table',
    'read_checkpoint',
    'recalibrate_bn',
    'require_detector',
    'require_matching_keys',
    'require_trained_network',
    'resolve_architecture',
    'restore_bn_statistics',
    'save_bn_statistics',
    'save_checkpoint',
    'serialized',
    'unwrap_model',
    'weights_below',
]
