"""Hooks and loops: the only part that knows MMEngine's Runner."""

from .hooks.bn_recalibration_hook import BNRecalibrationHook
from .hooks.channels_last_hook import ChannelsLastHook
from .hooks.in_place_distillation_hook import InPlaceDistillationHook
from .hooks.path_sampling_hook import SinglePathSamplingHook
from .optimizers.merged_groups_constructor import MergedGroupsConstructor
from .runner.search_loop import EvolutionSearchLoop

__all__ = [
    'BNRecalibrationHook',
    'ChannelsLastHook',
    'EvolutionSearchLoop',
    'InPlaceDistillationHook',
    'MergedGroupsConstructor',
    'SinglePathSamplingHook',
]
