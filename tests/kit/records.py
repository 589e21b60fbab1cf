"""Candidates and headers of records; no torch."""

from dataclasses import replace

from detnas_mm.structures import Candidate, Origin, SearchHeader

HEADER = SearchHeader(
    config='{"model": 1, "lr": 0.1}',
    config_digest='c0ffee',
    checkpoint='work/supernet.pth',
    checkpoint_digest='beef',
    search_space={'stem_channels': 4, 'stage_channels': [8]},
    constraint={'max_macs': 300e6, 'input_size': [224, 224]},
    algorithm={'type': 'evolution', 'population': 4},
    metric='coco/bbox_mAP',
    seed=0,
)
CANDIDATE = Candidate(
    index=0,
    generation=0,
    origin=Origin.RANDOM,
    path='0123',
    macs=1234,
    params=567,
    fitness=0.1 + 0.2,
    metrics={'coco/bbox_mAP': 0.1 + 0.2, 'coco/bbox_mAP_50': 2 / 3},
    seconds=1 / 7,
)
FAILED = replace(
    CANDIDATE, fitness=None, metrics={}, status='failed', error='lost: ü'
)


def header(**changes):
    return replace(HEADER, **changes)


def candidate(index, **changes):
    return replace(CANDIDATE, index=index, **changes)
