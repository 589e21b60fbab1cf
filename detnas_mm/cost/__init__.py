"""Cost of a path by table look-ups: no network is built."""

from .constraint import COSTS, Bounds, Constraint
from .latency_table import LatencyTable
from .mac_bins import MacBins
from .macs import backbone_macs, backbone_params, cost_table

__all__ = [
    'COSTS',
    'Bounds',
    'Constraint',
    'LatencyTable',
    'MacBins',
    'backbone_macs',
    'backbone_params',
    'cost_table',
]
