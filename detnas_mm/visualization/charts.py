"""Charts of a report: each draws one kind of data, and computes nothing."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from detnas_mm.visualization.data import CostScores, Progress, Reference
from detnas_mm.visualization.theme import (
    DASHES,
    INK,
    MARKERS,
    MUTED,
    SERIES,
    Size,
    style,
)
from detnas_mm.visualization.timing import Timing
from detnas_mm.visualization.units import duration, magnitude, time_unit

# Dark to bright, and never too dark to be seen on a dark page.
GENERATIONS = ListedColormap(colormaps['cividis'](np.linspace(0.3, 1, 256)))
PART_COLOURS = (*SERIES, MUTED)


def _axes(size: Size, height: float = 3.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(size.width, height), layout='constrained')
    return figure, figure.add_subplot()


def _legend_above(axes: Axes, columns: int) -> None:
    axes.legend(
        loc='lower left',
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0.2,
        handlelength=2.2,
    )


def _look(number: int) -> dict:
    """Returns colour, marker and dashes of a series."""
    return {
        'color': SERIES[number % len(SERIES)],
        'marker': MARKERS[number % len(MARKERS)],
        'linestyle': DASHES[number % len(DASHES)],
        'markersize': 4.5,
    }


def draw_progress(data: Progress, score_label: str, size: Size) -> Figure:
    """Draws best and mean of the top so far over the generations."""
    with style():
        figure, axes = _axes(size)
        for number, (values, label) in enumerate(
            (
                (data.best, 'best so far'),
                (data.top_mean, f'mean of the top {data.top} so far'),
            )
        ):
            axes.plot(data.generation, values, label=label, **_look(number))
        axes.set_xlabel('generation')
        axes.set_ylabel(score_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_above(axes, 2 if size.blocks > 8 else 1)
    return figure


def draw_comparison(
    curves: Sequence[tuple[str, Progress]], score_label: str, size: Size
) -> Figure:
    """Draws searches in one chart, as the paper's Figure 2.

    Args:
        curves: Name and progress of each search.
        score_label: Name and unit of the metric.
        size: For which width.
    """
    with style():
        figure, axes = _axes(size, 4.0)
        for number, (name, data) in enumerate(curves):
            look = _look(number)
            x, colour = data.evaluated, look['color']
            axes.fill_between(
                x, data.top_worst, data.best, color=colour, alpha=0.13, lw=0
            )
            thin = look | {'marker': '', 'linewidth': 0.8}
            axes.plot(x, data.best, **thin)
            axes.plot(x, data.top_mean, label=name, **look)
        axes.set_xlabel('candidates evaluated')
        axes.set_ylabel(score_label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_above(axes, 1)
    return figure


def draw_cost_scores(
    data: CostScores,
    references: Sequence[Reference],
    scores: Sequence[float | None],
    bounds: Sequence[float],
    labels: tuple[str, str],
    size: Size,
) -> Figure:
    """Draws score against MACs, with the Pareto front.

    Args:
        data: The candidates.
        references: Backbones to compare with.
        scores: The fitness of each, ``None`` where it was not evaluated: then
            only its MACs are marked.
        bounds: The MACs that the search kept to.
        labels: Those of the two axes.
        size: For which width.
    """
    with style():
        figure, axes = _axes(size, 4.2)
        dots = axes.scatter(
            data.macs,
            data.fitness,
            c=data.generation,
            cmap=GENERATIONS,
            edgecolors=MUTED,
            linewidths=0.6,
            s=26,
        )
        axes.plot(
            data.front_macs,
            data.front_fitness,
            color=SERIES[1],
            drawstyle='steps-post',
            marker=MARKERS[3],
            markersize=5,
            label='Pareto front',
        )
        for number, (one, score) in enumerate(
            zip(references, scores, strict=True)
        ):
            _draw_reference(axes, one, score, number)
        for bound in bounds:
            axes.axvline(
                bound,
                color=INK,
                linestyle=DASHES[1],
                linewidth=1.2,
                label=f'bound of the search, {magnitude(bound)}',
            )
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.xaxis.set_major_formatter(FuncFormatter(_macs_tick))
        axes.xaxis.set_major_locator(MaxNLocator(6 if size.blocks > 8 else 4))
        bar = figure.colorbar(dots, ax=axes, label='generation', pad=0.02)
        bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        bar.outline.set_visible(False)
        _legend_above(axes, 1)
    return figure


def _macs_tick(macs: float, _: int) -> str:
    """Writes MACs as the tables do, but round numbers short."""
    text = magnitude(macs)
    number, letter = text.rstrip('kMG'), text[-1]
    return f'{float(number):g}{letter}' if letter in 'kMG' else text


def _draw_reference(
    axes: Axes, one: Reference, score: float | None, number: int
) -> None:
    colour = SERIES[2 + number % 2]
    if score is None:
        axes.axvline(
            one.macs,
            color=colour,
            linestyle=DASHES[2 + number % 2],
            label=f'{one.name} (its MACs)',
        )
        return
    axes.plot(
        one.macs,
        score,
        color=colour,
        marker='*',
        markersize=13,
        markeredgecolor=INK,
        linestyle='',
        label=one.name,
    )


def draw_timing(data: Timing, size: Size) -> Figure:
    """Draws what the evaluation of each candidate took."""
    longest = max(data.seconds, default=0)
    unit, unit_name = time_unit(longest)
    with style():
        figure, axes = _axes(size, 3.0)
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
            color=INK,
            linestyle=DASHES[1],
            linewidth=1.2,
            label=f'median {duration(data.median)}',
        )
        axes.set_ylim(0, 1.08 * longest / unit or 1)
        axes.set_xlabel('candidate, in the order of the record')
        axes.set_ylabel(f'evaluation ({unit_name})')
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend_above(axes, 3 if size.blocks > 8 else 2)
    return figure


def _draw_parts(axes: Axes, data: Timing, unit: int) -> None:
    """Draws the parts of each candidate, one upon the other."""
    edges = np.arange(len(data.index) + 1) + data.index[0] - 0.5
    bottom = np.zeros(len(data.index))
    for number, (part, seconds) in enumerate(data.by_part.items()):
        top = bottom + np.divide(seconds, unit)
        axes.stairs(
            top,
            edges,
            baseline=bottom,
            fill=True,
            color=PART_COLOURS[number % len(PART_COLOURS)],
            label=f'{part} {data.share(part):.0%}',
        )
        bottom = top
