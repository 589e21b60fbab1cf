"""Hooks and loops: the only part that knows MMEngine's Runner."""

from .bn_recalibration_hook import BNRecalibrationHook
from .channels_last_hook import ChannelsLastHook
from .parameter_groups import MergedGroupsConstructor
from .path_sampling_hook import SinglePathSamplingHook
from .search_loop import EvolutionSearchLoop

__all__ = [
    'BNRecalibrationHook',
    'ChannelsLastHook',
    'EvolutionSearchLoop',
    'MergedGroupsConstructor',
    'SinglePathSamplingHook',
]
