"""The drawing of a path: every block, in its stage, with its label."""

from hypothesis import given
from hypothesis import strategies as st
from kit.spaces import DETECTOR_SPACE, spaces

from detnas_mm.structures import SEARCH_SPACES, SearchSpace
from detnas_mm.visualization.architecture import (
    choice_styles,
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
    assert stages('large', WIDE) == [[0, 1], [2], [3]]
    assert stages('large', NARROW) == [[0], [1], [2], [2], [3]]


def test_blocks_are_named_by_stage():
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


def test_no_two_choices_look_alike_without_colour():
    names = (*SEARCH_SPACES['small'].choices, 'mine', 'yours')
    styles = choice_styles(names)
    assert len({(s.hatch, s.height) for s in styles}) == len(styles)
    assert len({s.colour for s in styles}) == len(styles)
    # In the paper's figures the Xception blocks are the larger ones.
    assert styles[3].height > styles[0].height


def test_long_name_of_an_own_block_is_cut():
    space = SearchSpace(4, (8,), (1,), ('inverted_residual_with_attention',))
    assert 'inverted_resi…' in texts(draw_architecture(space, (0,), NARROW))
