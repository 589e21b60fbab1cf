"""Tables of latencies; no torch."""

import numpy as np

from detnas_mm.cost import LatencyTable


def latency_table(space, blocks, stem=1.0, **changes):
    settings = dict(
        search_space=space,
        shuffle='grouped',
        input_size=(224, 224),
        batch_size=1,
        device='Toy CPU',
        threads=1,
        precision='fp32',
        channels_last=False,
        stem=stem,
        blocks=blocks,
    )
    return LatencyTable(**(settings | changes))


def random_latencies(space, seed=0, **changes):
    """Latencies from 0.5 to 1.5 ms."""
    rng = np.random.default_rng(seed)
    shape = (space.num_blocks, space.num_choices)
    return latency_table(space, rng.uniform(0.5, 1.5, shape), **changes)
