"""The drawing of a path: every block, in its stage, with its label."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.spaces import DETECTOR_SPACE, spaces
from matplotlib.patches import FancyBboxPatch

from detnas_mm.structures import SEARCH_SPACES, SearchSpace
from detnas_mm.visualization.architecture import (
    draw_architecture,
    layout,
)
from detnas_mm.visualization.theme import NARROW, WIDE


@given(spaces(max_stages=4, max_blocks=20), st.integers(1, 20))
def test_layout_has_every_block_once_and_in_order(space, per_row):
    rows = layout(space, per_row)
    blocks = [b for row in rows for segment in row for b in segment.blocks]
    assert blocks == list(range(space.num_blocks))
    for row in rows:
        assert 1 <= sum(len(segment.blocks) for segment in row) <= per_row
        for segment in row:
            stages = {space.blocks[block].stage for block in segment.blocks}
            assert stages == {segment.stage}


def test_layout_keeps_stages_of_the_paper_together():
    def stages(name, size):
        rows = layout(SEARCH_SPACES[name], size.blocks)
        return [[segment.stage for segment in row] for row in rows]

    assert stages('small', WIDE) == [[0, 1, 2, 3]]
    assert stages('small', NARROW) == [[0, 1], [2], [3]]
    assert stages('large', NARROW) == [[0], [1], [2], [2], [3]]
    (row,) = layout(DETECTOR_SPACE, 20)
    names = [name for segment in row for name in segment.names]
    assert names == ['1.1', '1.2', '2.1', '3.1', '3.2', '4.1']


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_block_has_its_kernel_as_label():
    figure = draw_architecture(DETECTOR_SPACE, (0, 1, 2, 3, 3, 0), WIDE)
    labels = [text for text in texts(figure) if '×' in text]
    assert labels == [
        'Conv 3×3', '3×3', '5×5', '7×7', 'Xception 3×3', 'Xception 3×3', '3×3',
    ]  # fmt: skip
    stages = [text for text in texts(figure) if text.startswith('Stage')]
    assert stages == ['Stage 1', 'Stage 2', 'Stage 3', 'Stage 4']


LONG = 'inverted_residual_with_attention'


@pytest.mark.parametrize('size', [NARROW, WIDE])
@pytest.mark.parametrize('name', ['a', 'W' * 14, LONG * 3])
def test_name_of_a_custom_block_stays_inside_it(name, size):
    """Outside of it, the label could have the color of the page."""
    for kind in (0, 3):
        names = ['b', 'c', 'd', 'e']
        names[kind] = name
        space = SearchSpace(4, (8,), (1,), names)
        axes = draw_architecture(space, (kind,), size).axes[0]
        label = axes.texts[-1].get_window_extent()
        block = [p for p in axes.patches if isinstance(p, FancyBboxPatch)][1]
        box = block.get_window_extent()
        hatched = axes.patches[-1]
        assert hatched.get_hatch()
        assert box.x0 < label.x0 < label.x1 < box.x1
        assert hatched.get_window_extent().y1 < label.y0 < label.y1 < box.y1


@pytest.mark.parametrize('size', [NARROW, WIDE])
def test_stem_and_stages_do_not_run_together(size):
    for blocks in ((1, 2, 3, 2), (1, 19)):
        widths = tuple(8 * 2**stage for stage in range(len(blocks)))
        space = SearchSpace(4, widths, blocks, ('shuffle_3x3',))
        axes = draw_architecture(space, (0,) * sum(blocks), size).axes[0]
        titles = [
            text.get_window_extent()
            for text in axes.texts
            if text.get_text().startswith(('Stem', 'Stage'))
        ]
        for first, second in itertools.combinations(titles, 2):
            assert not first.overlaps(second)
