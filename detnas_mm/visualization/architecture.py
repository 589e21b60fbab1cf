"""Drawing of a path block by block, as in the paper's Figures 4 and 5."""

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import text_to_path

from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.visualization.theme import INK, MUTED, Size, style

_BLACK = '#111417'
# Distance of the rows and of the stages; the tallest block has a height of 1.
_ROW, _GAP = 1.55, 0.3
# Points of one unit of height, which is an inch.
_POINTS = 72
# Font sizes of the labels in blocks; the smaller one is for long names.
_FONT, _SMALL_FONT = 9, 6.5
# Height of the pattern in a block with the space below it, and the margin at
# both ends of a label.
_HATCHED = 0.2
_MARGIN = 0.05


@dataclass(frozen=True)
class ChoiceStyle:
    """How a choice is drawn: choices differ in more than their color."""

    label: str
    color: str  # of the block
    text: str = _BLACK  # color of the label
    hatch: str = ''
    height: float = 0.72  # at most 1


# As in the paper's figures: yellow and orange for 5x5 and 7x7, blue for 3x3,
# larger and blue for Xception. The palette is by Okabe and Ito.
_PAPER = {
    'shuffle_3x3': ChoiceStyle('3×3', '#56b4e9'),
    'shuffle_5x5': ChoiceStyle('5×5', '#f0e442', hatch='||'),
    'shuffle_7x7': ChoiceStyle('7×7', '#e69f00', hatch='//'),
    'xception': ChoiceStyle(
        'Xception 3×3', '#0072b2', text='#ffffff', height=1.0
    ),
    'skip': ChoiceStyle('skip', '#ffffff', height=0.2),
}
# Custom choices are tall: names take more room than kernel sizes.
_CUSTOM = (
    ChoiceStyle('', '#009e73', hatch='\\\\', height=1.0),
    ChoiceStyle('', '#cc79a7', hatch='\\\\//', height=1.0),
    ChoiceStyle('', '#d55e00', hatch='--', height=1.0),
    ChoiceStyle('', '#b3b3b3', hatch='||--', height=1.0),
)


def choice_styles(choices: Sequence[str]) -> list[ChoiceStyle]:
    """Return the style of each choice; custom choices take turns."""
    custom = cycle(_CUSTOM)
    return [
        _PAPER[name] if name in _PAPER else replace(next(custom), label=name)
        for name in choices
    ]


@dataclass(frozen=True)
class Segment:
    """Neighboring blocks of one stage."""

    stage: int  # from 0
    blocks: tuple[int, ...]  # indices in the path
    names: tuple[str, ...]  # such as '4.2'


def layout(space: SearchSpace, per_row: int) -> list[list[Segment]]:
    """Arrange the blocks in rows; avoid splitting stages."""
    rows: list[list[Segment]] = [[]]
    free = per_row
    start = 0
    for stage, count in enumerate(space.stage_blocks):
        blocks = list(range(start, start + count))
        while blocks:
            if free < min(len(blocks), per_row):
                rows.append([])
                free = per_row
            part, blocks = blocks[:free], blocks[free:]
            names = map(space.block_name, part)
            rows[-1].append(Segment(stage, tuple(part), tuple(names)))
            free -= len(part)
        start += count
    return rows


def draw_architecture(
    space: SearchSpace, path: ArchPath, size: Size
) -> Figure:
    """Draw the network of a path block by block."""
    rows = layout(space, size.blocks)
    styles = choice_styles(space.choice_names)
    columns = max(row_width(row, _GAP) for row in rows) + 1
    scale = size.width / max(columns, 0.6 * size.blocks)
    with style():
        height = _ROW * (len(rows) - 1) + 1.6
        figure = Figure(figsize=(scale * columns, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(-1.05, columns - 1)
        axes.set_ylim(0.93 - height, 0.93)
        _draw_block(axes, -0.85, 0, ChoiceStyle('Conv 3×3', '#ffffff'), 0.7)
        # Lower than the names of stages, which may be wider than one block.
        _draw_title(axes, -0.52, 0.4, 'Stem', fontsize=_FONT)
        for number, row in enumerate(rows):
            _draw_row(axes, row, -_ROW * number, path, styles)
    return figure


def _draw_title(
    axes: Axes, x: float, y: float, text: str, **font: float
) -> None:
    axes.text(x, y, text, ha='center', va='bottom', color=INK, **font)


def row_width(row: Sequence[Segment], gap: float) -> float:
    """Return the width of a row in blocks, with a gap after each segment."""
    return sum(len(segment.blocks) + gap for segment in row)


def _draw_row(
    axes: Axes,
    row: Sequence[Segment],
    y: float,
    path: ArchPath,
    styles: Sequence[ChoiceStyle],
) -> None:
    axes.plot(
        (-0.6 if y == 0 else -0.1, row_width(row, _GAP) - _GAP),
        (y, y),
        color=MUTED,
        linewidth=1,
        zorder=0,
    )
    x = 0.0
    for segment in row:
        count = len(segment.blocks)
        axes.add_patch(
            Rectangle(
                (x - 0.06, y - 0.62),
                count + 0.12,
                1.24,
                facecolor='none',
                edgecolor=MUTED,
                linestyle=(0, (3, 2)),
                linewidth=1,
            )
        )
        _draw_title(
            axes, x + count / 2, y + 0.66, f'Stage {segment.stage + 1}'
        )
        for offset, block in enumerate(segment.blocks):
            _draw_block(axes, x + offset + 0.08, y, styles[path[block]], 0.84)
        x += count + _GAP


def _draw_block(
    axes: Axes, x: float, y: float, look: ChoiceStyle, width: float
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x + 0.06, y - look.height / 2 + 0.06),
            width - 0.12,
            look.height - 0.12,
            boxstyle='round,pad=0.06',
            facecolor=look.color,
            edgecolor=_BLACK,
            linewidth=0.9,
        )
    )
    if look.hatch:
        # Below the label, which the pattern would make hard to read.
        axes.add_patch(
            Rectangle(
                (x + 0.05, y - look.height / 2 + 0.04),
                width - 0.1,
                _HATCHED - 0.04,
                facecolor='none',
                edgecolor=_BLACK,
                hatch=look.hatch,
                linewidth=0,
            )
        )
    below = _HATCHED if look.hatch else 0.0
    label, font = fitted_label(look.label, look.height - below - 2 * _MARGIN)
    axes.text(
        x + width / 2,
        y + below / 2,
        label,
        rotation=90,
        ha='center',
        va='center',
        color=look.text,
        fontsize=font,
    )


def fitted_label(label: str, length: float) -> tuple[str, float]:
    """Make a label fit by a smaller font, then by omitting its middle.

    Similar names, such as one block with two kernel sizes, differ at the ends.
    The maximum length is in inches. The font size is returned as well.
    """
    font = _FONT * length / max(_inches(label, _FONT), length)
    if font >= _SMALL_FONT:
        return label, font
    cuts = [
        f'{label[: kept - kept // 2]}…{label[len(label) - kept // 2 :]}'
        for kept in range(len(label))
    ]
    fitting = bisect(cuts, length, key=lambda cut: _inches(cut, _SMALL_FONT))
    return cuts[max(fitting - 1, 0)], _SMALL_FONT


def _inches(text: str, font: float) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=font), ismath=False
    )
    return width / _POINTS
