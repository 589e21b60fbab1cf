"""Chart of how often each choice of each block was taken."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import PercentFormatter

from detnas_mm.structures import SearchSpace
from detnas_mm.visualization.architecture import (
    ChoiceStyle,
    Segment,
    choice_styles,
    layout,
)
from detnas_mm.visualization.data import ChoiceShares
from detnas_mm.visualization.theme import Size, style


def draw_choice_shares(
    data: ChoiceShares, space: SearchSpace, size: Size
) -> Figure:
    """Draws for each block how often each choice was taken.

    Each block has a slot, in which the generations follow each other from
    left to right.
    """
    rows = layout(space, size.blocks)
    styles = choice_styles(space.choices)
    columns = 4 if size.blocks > 8 else 2
    if max(len(look.label) for look in styles) > 20:
        columns //= 2
    height = 1.5 * len(rows) + 0.25 + 0.18 * math.ceil(len(styles) / columns)
    with style():
        figure = Figure(figsize=(size.width, height), layout='constrained')
        grid = figure.subplots(len(rows), squeeze=False)[:, 0]
        for axes, row in zip(grid, rows, strict=True):
            _draw_shares_row(axes, data, row, styles)
            axes.set_xlim(-0.2, max(_end(one) for one in rows))
        figure.legend(
            handles=[_bars([], 1, look) for look in styles],
            loc='outside upper left',
            ncols=columns,
            title='from bottom to top',
            alignment='left',
        )
    return figure


def _end(row: Sequence[Segment]) -> float:
    return sum(len(segment.blocks) + 0.5 for segment in row)


def _draw_shares_row(
    axes: Axes,
    data: ChoiceShares,
    row: Sequence[Segment],
    styles: Sequence[ChoiceStyle],
) -> None:
    width = 0.86 / max(len(data.generations), 1)
    blocks = [block for segment in row for block in segment.blocks]
    names = [name for segment in row for name in segment.names]
    places = []
    x = 0.0
    for segment in row:
        places += [x + offset for offset in range(len(segment.blocks))]
        x += len(segment.blocks) + 0.5
    for choice, look in enumerate(styles):
        bars = [
            (place + number * width, shares[:choice].sum(), shares[choice])
            for place, block in zip(places, blocks, strict=True)
            for number, shares in enumerate(data.shares[:, block])
            if shares[choice]
        ]
        axes.add_patch(_bars(bars, width, look))
    axes.grid(visible=False)
    axes.set_xticks([place + 0.43 for place in places], names)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_yticks((0, 0.5, 1))


def _bars(
    bars: Sequence[tuple[float, float, float]],
    width: float,
    look: ChoiceStyle,
) -> PathPatch:
    """Makes one shape of bars, given as left, bottom and height.

    A file with a shape for each bar would be many times larger.
    """
    corners = np.array([(0, 0), (width, 0), (width, 1), (0, 1), (0, 0)])
    outlines = [
        corners * (1, height) + (left, bottom) for left, bottom, height in bars
    ]
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(bars)
    vertices = np.reshape(outlines, (-1, 2))
    return PathPatch(
        Path(vertices, codes if bars else None),
        facecolor=look.colour,
        edgecolor='none',
        label=look.label,
    )
