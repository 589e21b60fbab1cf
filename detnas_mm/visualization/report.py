"""The report of a search: one page that needs nothing but itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from detnas_mm.structures import Candidate
from detnas_mm.structures.config_text import SupernetSettings, model_text
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically
from detnas_mm.visualization.architecture import draw_architecture
from detnas_mm.visualization.charts import (
    draw_comparison,
    draw_cost_scores,
    draw_progress,
    draw_timing,
)
from detnas_mm.visualization.choice_chart import draw_choice_shares
from detnas_mm.visualization.data import (
    Search,
    choice_shares,
    cost_scores,
    fittest,
    progress,
)
from detnas_mm.visualization.theme import (
    COLOURS,
    NARROW,
    WIDE,
    Size,
    inline_svg,
    png,
    svg,
)
from detnas_mm.visualization.timing import timing
from detnas_mm.visualization.units import duration, magnitude

ROWS = 20
# What searches should have in common where their algorithms are compared.
_COMPARED = {
    'search_space': 'search space',
    'shuffle': 'channel shuffle',
    'constraint': 'bounds on the cost',
    'checkpoint_digest': 'checkpoint',
    'config_digest': 'config (data, model or evaluation)',
}
Draw = Callable[[Size], Figure]


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: Name of its files, unique in the report.
        description: What it shows, in one sentence.
        draw: Draws it for a width.
    """

    name: str
    description: str
    draw: Draw

    @cached_property
    def wide(self) -> Figure:
        """The figure as it is saved."""
        return self.draw(WIDE)

    @cached_property
    def wide_svg(self) -> str:
        """The figure as an SVG file."""
        return svg(self.wide)

    def inline(self, size: Size) -> Markup:
        """Returns it as an element of the page."""
        file = self.wide_svg if size is WIDE else svg(self.draw(size))
        prefix = f'{self.name}-{size.name}'
        return Markup(inline_svg(file, prefix, str(escape(self.description))))


def write_report(searches: Sequence[Search], file: Path) -> list[Path]:
    """Writes the page, and beside it a folder with its figures.

    Args:
        searches: The searches; the first one is the one that matters.
        file: The page. The figures go to a folder of the same name without
            its ending.

    Returns:
        The files: the page first, then an SVG and a PNG file of each figure.

    Raises:
        InputError: If there is no folder to write the page to.
        InputError: If the page has no ending of its own.
    """
    if file.suffix not in ('.html', '.htm'):
        raise InputError(f'the page must end in .html, got {file}')
    if not file.parent.is_dir():
        raise InputError(f'no folder {file.parent} to write to')
    comparison = comparison_of(searches)
    pictures = [
        pictures_of(search, f'search{number}')
        for number, search in enumerate(searches, 1)
    ]
    pictures[0] |= reference_pictures(searches[0])
    folder = file.with_suffix('')
    folder.mkdir(exist_ok=True)
    written = [file]
    for group in (comparison, *pictures):
        for picture in group.values():
            svg_file = folder / f'{picture.name}.svg'
            png_file = folder / f'{picture.name}.png'
            write_atomically(svg_file, picture.wide_svg)
            write_atomically(png_file, png(picture.wide))
            written += [svg_file, png_file]
    page = render_page(searches, pictures, comparison, folder.name)
    write_atomically(file, page)
    return written


def pictures_of(search: Search, prefix: str) -> dict[str, Picture]:
    """Returns the figures of one search by what they show.

    Args:
        search: The search.
        prefix: Put before the names of their files.
    """
    if search.best is None:
        return {}
    candidates, best = search.candidates, search.best
    path = search.space.parse(best.path)
    draws: dict[str, tuple[str, Draw]] = {
        'architecture': (
            f'The fittest network, {search.space.format_stages(path)}, block '
            'by block.',
            partial(draw_architecture, search.space, path),
        ),
        'progress': (
            f'{search.score_label} over the generations.',
            lambda size: draw_progress(
                progress(candidates, search.top), search.score_label, size
            ),
        ),
        'cost': (
            f'{search.score_label} against multiply-adds of the backbone.',
            lambda size: _draw_cost(search, size),
        ),
        'choices': (
            'Share of each choice in each block, over the generations.',
            lambda size: draw_choice_shares(
                choice_shares(candidates, search.space), search.space, size
            ),
        ),
        'time': (
            'Time that the evaluation of each candidate took'
            f'{_by_part_of(candidates)}.',
            lambda size: draw_timing(timing(candidates), size),
        ),
    }
    return {
        name: Picture(f'{prefix}-{name}', description, draw)
        for name, (description, draw) in draws.items()
    }


def _by_part_of(candidates: Sequence[Candidate]) -> str:
    if not any(one.seconds_by_part for one in candidates):
        return ''
    return ', by part, with the share of each part in the total time'


def reference_pictures(search: Search) -> dict[str, Picture]:
    """Returns the drawing of each backbone to compare with."""
    return {
        f'reference{number}': Picture(
            f'reference{number}',
            f'{one.name}, {search.space.format_stages(one.path)}.',
            partial(draw_architecture, search.space, one.path),
        )
        for number, one in enumerate(search.references, 1)
    }


def _draw_cost(search: Search, size: Size) -> Figure:
    scored = {c.path: c.fitness for c in search.candidates}
    scores = [
        scored.get(search.space.format(one.path)) for one in search.references
    ]
    labels = (
        f'multiply-adds of the backbone at {search.input_size}',
        search.score_label,
    )
    return draw_cost_scores(
        cost_scores(search.candidates),
        search.references,
        scores,
        search.macs_bounds,
        labels,
        size,
    )


def comparison_of(searches: Sequence[Search]) -> dict[str, Picture]:
    """Returns the figure that has several searches in one chart.

    Raises:
        InputError: If they search for different metrics.
    """
    metrics = {search.header.metric for search in searches}
    if len(metrics) > 1:
        raise InputError(
            'searches can be compared on one metric only, got '
            f'{" and ".join(sorted(metrics))}; make a report of each'
        )
    started = [search for search in searches if search.best is not None]
    if len(started) < 2:
        return {}
    picture = Picture(
        'comparison',
        f'{started[0].score_label} of {len(started)} searches against the '
        'number of candidates evaluated.',
        lambda size: draw_comparison(
            [(one.name, progress(one.candidates, one.top)) for one in started],
            started[0].score_label,
            size,
        ),
    )
    return {'comparison': picture}


def unlike(searches: Sequence[Search]) -> str:
    """Names what differs between searches beside algorithm and seed.

    Returns:
        The names as they stand in a sentence; nothing if all is the same.
    """
    headers = [search.header for search in searches]
    names = [
        name
        for field, name in _COMPARED.items()
        if any(
            getattr(one, field) != getattr(headers[0], field)
            for one in headers
        )
    ]
    *others, last = names or ['']
    return ', '.join(others) + (' and ' if others else '') + last


def render_page(
    searches: Sequence[Search],
    pictures: Sequence[Mapping[str, Picture]],
    comparison: Mapping[str, Picture],
    folder: str,
) -> str:
    """Returns the page as HTML; all text of the records is escaped."""
    environment = Environment(
        loader=PackageLoader('detnas_mm.visualization'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        magnitude=magnitude, duration=duration, whole=_whole
    )
    return environment.get_template('report.html').render(
        searches=searches,
        pictures=pictures,
        comparison=comparison,
        folder=folder,
        colours=COLOURS,
        sizes=(WIDE, NARROW),
        rows=ROWS,
        fittest=fittest,
        timing=timing,
        unlike=unlike,
        use_lines=use_lines,
        settings=settings_text,
    )


def _whole(text: str) -> str:
    """Keeps a number and its unit in one line."""
    return text.replace(' ', '\N{NO-BREAK SPACE}')


def settings_text(settings: Mapping) -> str:
    """Returns settings as a reader wants them: those that are set."""
    parts = []
    for name, value in settings.items():
        # The rest of a detector counts only where there is one.
        if value is None or (name.startswith('rest_') and not value):
            continue
        if isinstance(value, (list, tuple)):
            value = ' '.join(map(str, value))
        is_large = isinstance(value, (int, float)) and value >= 10_000
        parts.append(f'{name} {magnitude(value) if is_large else value}')
    return ', '.join(parts)


def use_lines(search: Search, candidate: Candidate) -> str:
    """Returns what to paste into the config of a detector."""
    supernet = SupernetSettings.from_config(
        search.space,
        search.header.shuffle,
        search.header.settings,
        search.header.imports,
    )
    return model_text(supernet, search.space.parse(candidate.path))
