"""Toy search spaces and a synthetic fitness; no torch."""

import numpy as np
from hypothesis import strategies as st

from detnas_mm.structures import SHUFFLE_CHOICES, SearchSpace

# A block of stride 2 and one of stride 1: 16 paths.
TWO_BLOCKS = SearchSpace(4, (8,), (2,))
# Two stages: 256 paths.
FOUR_BLOCKS = SearchSpace(4, (8, 16), (2, 2))
# Depth, width and kernel: 2 x 3 x 2 x 3 x 3 paths, the last block of each
# stage may be skipped.
ELASTIC = SearchSpace(
    4,
    (8, 16),
    (2, 3),
    ('shuffle_3x3', dict(type='shuffle_5x5', expansion=2.5), 'skip'),
)
# Four stages, as detectors need: strides 4, 8, 16 and 32; 4,096 paths.
DETECTOR_SPACE = SearchSpace(4, (8, 12, 16, 24), (2, 1, 2, 1))


@st.composite
def spaces(draw, max_stages=3, max_blocks=3):
    """Small search spaces of any shape."""
    stages = draw(st.integers(1, max_stages))
    stem = draw(st.integers(1, 6))
    channels, width = [], stem + stem % 2
    for _ in range(stages):
        width += 2 * draw(st.integers(1, 4))
        channels.append(width)
    blocks = draw(
        st.lists(st.integers(1, max_blocks), min_size=stages, max_size=stages)
    )
    choices = draw(st.sampled_from((SHUFFLE_CHOICES, ELASTIC.choices)))
    return SearchSpace(stem, tuple(channels), tuple(blocks), choices)


def paths_of(space):
    """Paths of a space, as a hypothesis strategy."""
    return st.tuples(*map(st.sampled_from, space.allowed_choices))


@st.composite
def spaces_with_path(draw, **limits):
    """A small space with one of its paths."""
    space = draw(spaces(**limits))
    return space, draw(paths_of(space))


def additive_fitness(space, seed):
    """Fitness of a path as a sum of random worths of its choices."""
    rng = np.random.default_rng(seed)
    worth = rng.normal(size=(space.num_blocks, space.num_choices))
    return lambda path: float(worth[range(space.num_blocks), path].sum())
