"""Colours and sizes of figures, and their way into a file or a page.

A figure is drawn once, in the light colours. In a page each of them becomes
a variable of the style sheet, so that the same drawing fits a dark page.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours of lines and text: (light, dark). Series are those of Okabe and
# Ito, which colour-blind people can tell apart, or close to them.
COLOURS: Mapping[str, tuple[str, str]] = {
    'ink': ('#1b1f24', '#e8eaed'),
    'muted': ('#5b636d', '#a3acb8'),
    'grid': ('#d9dde2', '#3a414b'),
    'surface': ('#fdfdfe', '#1d2127'),
    'series-1': ('#0a6fae', '#63bdf0'),
    'series-2': ('#c95500', '#f29a4a'),
    'series-3': ('#00805d', '#3fc99f'),
    'series-4': ('#a84f83', '#dd93bd'),
}
INK, MUTED, GRID, SURFACE = (
    COLOURS[name][0] for name in ('ink', 'muted', 'grid', 'surface')
)
SERIES = tuple(
    light for name, (light, _) in COLOURS.items() if name.startswith('series')
)
# Not by colour alone: each series has a marker and dashes of its own.
MARKERS = 'os^D'
DASHES = ('-', '--', '-.', ':')

_SETTINGS = {
    'font.family': 'sans-serif',
    'font.size': 10,
    'text.color': INK,
    'text.parse_math': False,  # names of metrics may hold a dollar sign
    'axes.facecolor': SURFACE,
    'axes.edgecolor': MUTED,
    'axes.labelcolor': INK,
    'axes.grid': True,
    'axes.axisbelow': True,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'grid.color': GRID,
    'grid.linewidth': 0.7,
    'xtick.color': MUTED,
    'ytick.color': MUTED,
    'xtick.labelcolor': INK,
    'ytick.labelcolor': INK,
    'legend.frameon': False,
    'figure.facecolor': SURFACE,
    'savefig.facecolor': SURFACE,
    'svg.fonttype': 'none',  # text stays text
    'svg.hashsalt': 'detnas_mm',  # the same drawing gives the same file
    'hatch.linewidth': 0.8,
}


@dataclass(frozen=True)
class Size:
    """For which width a figure is drawn.

    Attributes:
        name: ``'wide'`` or ``'narrow'``.
        width: Width in inches.
        blocks: Blocks of a network that stand side by side.
    """

    name: str
    width: float
    blocks: int


WIDE = Size('wide', 9.0, 20)
NARROW = Size('narrow', 4.4, 8)


def style() -> matplotlib.RcParams:
    """Returns a ``with`` block that sets the style of all figures."""
    return matplotlib.rc_context(_SETTINGS)


def svg(figure: Figure) -> str:
    """Returns a figure as an SVG file."""
    buffer = io.StringIO()
    with style():
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={'Date': None, 'Creator': None}
        )
    # Characters that XML does not have may stand in names of metrics.
    return re.sub(r'[\x00-\x08\x0b\x0c\x0e-\x1f]', '', buffer.getvalue())


def png(figure: Figure, dpi: int = 150) -> bytes:
    """Returns a figure as a PNG file."""
    buffer = io.BytesIO()
    figure.set_dpi(dpi)
    with style():
        FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()


def inline_svg(file: str, prefix: str, description: str) -> str:
    """Turns an SVG file into an element of a page.

    Args:
        file: What :func:`svg` gave.
        prefix: Put before each id, which must be unique in a page.
        description: What the figure shows, for those who cannot see it; it
            must be escaped for HTML already.
    """
    element = file[file.index('<svg') :]
    element = re.sub(r'<metadata>.*?</metadata>', '', element, flags=re.S)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r'(href="|url\()#', rf'\1#{prefix}-', element)
    for name, (light, _) in COLOURS.items():
        element = element.replace(f': {light}', f': var(--{name})')
    return element.replace(
        '<svg', f'<svg role="img" aria-label="{description}"', 1
    )
