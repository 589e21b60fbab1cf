"""Charts of a report: each function draws data and computes nothing."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from detnas_mm.structures import Candidate, SearchSpace
from detnas_mm.visualization.architecture import (
    ChoiceStyle,
    Segment,
    choice_styles,
    layout,
    row_width,
)
from detnas_mm.visualization.data import Progress, Reference, Search, Timing
from detnas_mm.visualization.theme import (
    DASHES,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    Size,
    duration,
    magnitude,
    style,
    time_unit,
)

# From dark to bright; the start is bright enough for a dark page.
_GENERATIONS = ListedColormap(colormaps['cividis'](np.linspace(0.3, 1, 256)))
_PART_COLORS = (*SERIES, MUTED)
# A line across the chart, such as a bound.
_LEVEL = dict(color=INK, linestyle=DASHES[1], linewidth=1.2)
# Width of all generations of a block, and space between stages, in blocks.
_SLOT, _GAP = 0.86, 0.5


@contextmanager
def _chart(
    size: Size, height: float, labels: tuple[str, str], columns: int = 1
) -> Iterator[tuple[Figure, Axes]]:
    """Open a chart with labels of the axes; place a legend above it."""
    with style():
        figure = Figure(figsize=(size.width, height), layout='constrained')
        axes = figure.add_subplot()
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        yield figure, axes
        axes.legend(
            loc='lower left',
            bbox_to_anchor=(0, 1),
            ncols=columns,
            borderaxespad=0.2,
            handlelength=2.2,
        )


def _look(number: int) -> dict:
    """Return color, marker and dashes of a series."""
    return {
        'color': SERIES[number % len(SERIES)],
        'marker': MARKERS[number % len(MARKERS)],
        'linestyle': DASHES[number % len(DASHES)],
        'markersize': 4.5,
    }


def draw_progress(data: Progress, score_label: str, size: Size) -> Figure:
    """Draw best and mean of the top over the generations."""
    curves = {
        'best so far': data.best,
        f'mean of the top {data.top} so far': data.top_mean,
    }
    labels = ('generation', score_label)
    columns = 2 if size.blocks > 8 else 1
    with _chart(size, 3.6, labels, columns) as (figure, axes):
        for number, (label, values) in enumerate(curves.items()):
            axes.plot(data.generation, values, label=label, **_look(number))
    return figure


def draw_comparison(
    curves: Sequence[tuple[str, Progress]], score_label: str, size: Size
) -> Figure:
    """Draw name and progress of several searches, as the paper's Figure 2."""
    labels = ('candidates evaluated', score_label)
    with _chart(size, 4.0, labels) as (figure, axes):
        for number, (name, data) in enumerate(curves):
            look = _look(number)
            x, color = data.evaluated, look['color']
            axes.fill_between(
                x, data.top_worst, data.best, color=color, alpha=0.13, lw=0
            )
            thin = look | {'marker': '', 'linewidth': 0.8}
            axes.plot(x, data.best, **thin)
            axes.plot(x, data.top_mean, label=name, **look)
    return figure


def draw_cost_scores(
    search: Search, front: Sequence[Candidate], size: Size, cost: str = 'macs'
) -> Figure:
    """Draw score against MACs or latency, with ``front`` as a line."""
    complete = search.complete
    is_macs = cost == 'macs'
    label = f'multiply-adds of the backbone at {search.input_size}'
    labels = label if is_macs else search.latency_label, search.score_label
    with _chart(size, 4.2, labels) as (figure, axes):
        dots = axes.scatter(
            [getattr(c, cost) for c in complete],
            [c.fitness for c in complete],
            c=[c.generation for c in complete],
            cmap=_GENERATIONS,
            edgecolors=MUTED,
            linewidths=0.6,
            s=26,
        )
        axes.plot(
            [getattr(c, cost) for c in front],
            [c.fitness for c in front],
            color=SERIES[1],
            drawstyle='steps-post',
            marker=MARKERS[3],
            markersize=5,
            label='Pareto front',
        )
        scores = {c.path: c.fitness for c in complete}
        for number, reference in enumerate(search.references * is_macs):
            score = scores.get(search.space.format(reference.path))
            _draw_reference(axes, reference, score, number)
        for bound in search.bounds(cost):
            text = magnitude(bound) if is_macs else f'{bound:g} ms'
            label = f'bound of the search, {text}'
            axes.axvline(bound, label=label, **_LEVEL)
        if is_macs:
            axes.xaxis.set_major_formatter(FuncFormatter(_macs_tick))
        axes.xaxis.set_major_locator(MaxNLocator(6 if size.blocks > 8 else 4))
        bar = figure.colorbar(dots, ax=axes, label='generation', pad=0.02)
        bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        bar.outline.set_visible(False)
    return figure


def _macs_tick(macs: float, _: int) -> str:
    """Write MACs as in the tables, without trailing zeros."""
    text = magnitude(macs)
    number, letter = text.rstrip('kMG'), text[-1]
    return f'{float(number):g}{letter}' if letter in 'kMG' else text


def _draw_reference(
    axes: Axes, reference: Reference, score: float | None, number: int
) -> None:
    """Draw a star, or a line at its MACs if there is no score."""
    color, dashes = SERIES[2 + number % 2], DASHES[2 + number % 2]
    if score is None:
        label = f'{reference.name} (its MACs)'
        axes.axvline(
            reference.macs, color=color, linestyle=dashes, label=label
        )
    else:
        axes.plot(
            reference.macs,
            score,
            color=color,
            linestyle='',
            marker='*',
            markersize=13,
            markeredgecolor=INK,
            label=reference.name,
        )


def draw_timing(data: Timing, size: Size) -> Figure:
    """Draw the duration of each candidate's evaluation."""
    longest = max(data.seconds, default=0)
    unit, unit_name = time_unit(longest)
    labels = ('candidate', f'evaluation ({unit_name})')
    columns = 3 if size.blocks > 8 else 2
    with _chart(size, 3.0, labels, columns) as (figure, axes):
        if data.by_part:
            _draw_parts(axes, data, unit)
        else:
            axes.plot(
                data.index,
                np.divide(data.seconds, unit),
                color=SERIES[0],
                marker=MARKERS[0],
                markersize=3,
                linestyle='',
                label='one candidate',
            )
        axes.axhline(
            data.median / unit,
            label=f'median {duration(data.median)}',
            **_LEVEL,
        )
        axes.set_ylim(0, 1.08 * longest / unit or 1)
    return figure


def _draw_parts(axes: Axes, data: Timing, unit: int) -> None:
    """Stack the parts of each candidate; missing candidates stay empty."""
    places = np.array(data.index) - min(data.index)
    bottom = np.zeros(max(places) + 1)
    edges = np.arange(len(bottom) + 1) + min(data.index) - 0.5
    for number, (part, seconds) in enumerate(data.by_part.items()):
        top = bottom.copy()
        top[places] += np.divide(seconds, unit)
        axes.stairs(
            top,
            edges,
            baseline=bottom,
            fill=True,
            color=_PART_COLORS[number % len(_PART_COLORS)],
            label=f'{part} {data.share(part):.0%}',
        )
        bottom = top


def draw_choice_shares(
    shares: np.ndarray, space: SearchSpace, size: Size
) -> Figure:
    """Draw ``shares`` of shape ``(generations, blocks, choices)``.

    Each block has a slot with the generations from left to right.
    """
    rows = layout(space, size.blocks)
    styles = choice_styles(space.choice_names)
    columns = 4 if size.blocks > 8 else 2
    if max(len(look.label) for look in styles) > 20:
        columns //= 2
    height = 1.5 * len(rows) + 0.25 + 0.18 * math.ceil(len(styles) / columns)
    with style():
        figure = Figure(figsize=(size.width, height), layout='constrained')
        grid = figure.subplots(len(rows), squeeze=False)[:, 0]
        for axes, row in zip(grid, rows, strict=True):
            _draw_shares_row(axes, shares, row, styles)
            axes.set_xlim(-0.2, max(row_width(row, _GAP) for row in rows))
        figure.legend(
            handles=[_bars([], 1, look) for look in styles],
            loc='outside upper left',
            ncols=columns,
            title='from bottom to top',
            alignment='left',
        )
    return figure


def _draw_shares_row(
    axes: Axes,
    shares: np.ndarray,
    row: Sequence[Segment],
    styles: Sequence[ChoiceStyle],
) -> None:
    width = _SLOT / max(len(shares), 1)
    places = {
        block: row_width(row[:position], _GAP) + number
        for position, segment in enumerate(row)
        for number, block in enumerate(segment.blocks)
    }
    for choice, look in enumerate(styles):
        bars = [
            (place + number * width, parts[:choice].sum(), parts[choice])
            for block, place in places.items()
            for number, parts in enumerate(shares[:, block])
            if parts[choice]
        ]
        axes.add_patch(_bars(bars, width, look))
    names = [name for segment in row for name in segment.names]
    axes.grid(visible=False)
    axes.set_xticks([place + _SLOT / 2 for place in places.values()], names)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_yticks((0, 0.5, 1))


def _bars(
    bars: Sequence[tuple[float, float, float]], width: float, look: ChoiceStyle
) -> PathPatch:
    """Make one shape of bars, given as left, bottom and height."""
    # With a shape for each bar, the file would be many times larger.
    corners = np.array([(0, 0), (width, 0), (width, 1), (0, 1), (0, 0)])
    outlines = [
        corners * (1, height) + (left, bottom) for left, bottom, height in bars
    ]
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(bars)
    vertices = np.reshape(outlines, (-1, 2))
    return PathPatch(
        Path(vertices, codes if bars else None),
        facecolor=look.color,
        edgecolor='none',
        label=look.label,
    )
