"""Look of a report: colors and sizes of figures, numbers as text.

A figure is drawn once, in the light colors. In a page each color becomes a
variable of the style sheet, so that the same drawing fits a dark page.
"""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

# Colors of lines and text: (light, dark). The series are close to the palette
# of Okabe and Ito, which color-blind people can tell apart.
COLORS: Mapping[str, tuple[str, str]] = {
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
    COLORS[name][0] for name in ('ink', 'muted', 'grid', 'surface')
)
SERIES = tuple(
    light for name, (light, _) in COLORS.items() if name.startswith('series')
)
# Series differ in marker and dashes, too, not in color alone.
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
    """Width for which a figure is drawn."""

    name: str
    width: float  # in inches
    blocks: int  # of a network in one row, at most


WIDE = Size('wide', 9.0, 20)
NARROW = Size('narrow', 4.4, 8)


def style() -> matplotlib.RcParams:
    """Return a ``with`` block that sets the style of all figures."""
    return matplotlib.rc_context(_SETTINGS)


def svg(figure: Figure) -> str:
    """Return a figure as an SVG file."""
    buffer = io.StringIO()
    with style():
        metadata = {'Date': None, 'Creator': None}
        figure.savefig(buffer, format='svg', metadata=metadata)
    # Names of metrics may contain characters that XML does not allow.
    return re.sub(r'[\x00-\x08\x0b\x0c\x0e-\x1f]', '', buffer.getvalue())


def png(figure: Figure, dpi: int = 150) -> bytes:
    """Return a figure as a PNG file."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format='png', dpi=dpi)
    return buffer.getvalue()


def inline_svg(file: str, prefix: str, description: str) -> str:
    """Turn a result of :func:`svg` into an element of a page.

    Each id gets a prefix that must be unique in the page. The description,
    for screen readers, must be escaped for HTML.
    """
    element = file[file.index('<svg') :]
    element = re.sub(r'<metadata>.*?</metadata>', '', element, flags=re.S)
    element = re.sub(r'\bid="', f'id="{prefix}-', element)
    element = re.sub(r'(href="|url\()#', rf'\1#{prefix}-', element)
    for name, (light, _) in COLORS.items():
        element = element.replace(f': {light}', f': var(--{name})')
    return element.replace(
        '<svg', f'<svg role="img" aria-label="{description}"', 1
    )


def magnitude(number: float) -> str:
    """Write a large number with its magnitude, such as ``288M``.

    It has three digits, and four from 1000 of a magnitude on.
    """
    for size, letter in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if abs(number) >= size:
            scaled = number / size
            decimals = 2 if scaled < 10 else 1 if scaled < 100 else 0
            return f'{scaled:.{decimals}f}{letter}'
    return f'{number:g}'


def time_unit(longest: float) -> tuple[int, str]:
    """Return the unit for an axis of durations: its seconds and its name."""
    for size, name in ((3600, 'h'), (60, 'min')):
        if longest >= 2 * size:
            return size, name
    return 1, 's'


def duration(seconds: float) -> str:
    """Write a duration with its units, such as ``3 min 20 s``."""
    if seconds < 60:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f'{minutes} min {rest} s'
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f'{hours} h {minutes} min'
    return f'{hours / 24:.1f} days'
