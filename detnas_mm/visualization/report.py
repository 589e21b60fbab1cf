"""The report of a search: one self-contained HTML page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from detnas_mm.structures import Candidate, fittest, pareto_front
from detnas_mm.structures.config_text import SupernetSettings, model_text
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_folder, write_atomically
from detnas_mm.visualization.architecture import draw_architecture
from detnas_mm.visualization.charts import (
    draw_choice_shares,
    draw_comparison,
    draw_cost_scores,
    draw_progress,
    draw_timing,
)
from detnas_mm.visualization.data import (
    Search,
    choice_shares,
    effects_by_block,
    predictions,
    progress,
    timing,
)
from detnas_mm.visualization.theme import (
    COLORS,
    NARROW,
    WIDE,
    Size,
    duration,
    inline_svg,
    magnitude,
    png,
    svg,
)

ROWS = 20
# Header fields that searches share if only their algorithms are compared.
_COMPARED = {
    'search_space': 'search space',
    'shuffle': 'channel shuffle',
    'constraint': 'bounds on the cost',
    'checkpoint_digest': 'checkpoint',
    'config_digest': 'config (data, model or evaluation)',
}


@dataclass(frozen=True)
class Picture:
    """A figure of the report."""

    name: str  # of its files, unique in the report
    description: str  # in one sentence
    draw: Callable[[Size], Figure]

    @cached_property
    def wide(self) -> Figure:
        """The figure as it is saved."""
        return self.draw(WIDE)

    @cached_property
    def wide_svg(self) -> str:
        """The figure as an SVG file."""
        return svg(self.wide)

    def inline(self, size: Size) -> Markup:
        """Return the figure as an element of the page."""
        file = self.wide_svg if size is WIDE else svg(self.draw(size))
        prefix = f'{self.name}-{size.name}'
        return Markup(inline_svg(file, prefix, str(escape(self.description))))


def write_report(searches: Sequence[Search], file: Path) -> list[Path]:
    """Write the page and a folder with its figures beside it.
    The folder has the name of the page without suffix. The references belong
    to the first search. All files are returned, the page first.
    """
    if file.suffix not in ('.html', '.htm'):
        raise InputError(f'the page must end in .html, got {file}')
    require_folder(file.parent)
    comparison = _comparison(searches)
    pictures = [
        _pictures(search, f'search{number}')
        for number, search in enumerate(searches, 1)
    ]
    pictures[0] |= _reference_pictures(searches[0])
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
    page = _render_page(searches, pictures, comparison, folder.name)
    write_atomically(file, page)
    return written


def _pictures(search: Search, prefix: str) -> dict[str, Picture]:
    """Return the figures of one search; file names begin with ``prefix``."""
    if search.best is None:
        return {}
    candidates, space = search.candidates, search.space
    label = search.score_label
    path = space.parse(search.best.path)
    curves = progress(candidates, search.top)
    shares = choice_shares(candidates, space)
    by_part = ', by part, with the share of each part in the total time'
    if not any(c.seconds_by_part for c in candidates):
        by_part = ''
    draws = {
        'architecture': (
            f'The fittest network, {space.format_stages(path)}, block by '
            'block.',
            partial(draw_architecture, space, path),
        ),
        'progress': (
            f'{label} over the generations.',
            partial(draw_progress, curves, label),
        ),
        'cost': (
            f'{label} against multiply-adds of the backbone.',
            partial(draw_cost_scores, search, pareto_front(candidates)),
        ),
        'choices': (
            'Share of each choice in each block, over the generations.',
            partial(draw_choice_shares, shares, space),
        ),
        'time': (
            f'Time that the evaluation of each candidate took{by_part}.',
            partial(draw_timing, timing(search.evaluated)),
        ),
    }
    if search.has_latency:
        front = pareto_front(candidates, ('latency',))
        draws['latency'] = (
            f'{label} against {search.latency_label}.',
            partial(draw_cost_scores, search, front, cost='latency'),
        )
    return {
        name: Picture(f'{prefix}-{name}', description, draw)
        for name, (description, draw) in draws.items()
    }


def _reference_pictures(search: Search) -> dict[str, Picture]:
    """Return the drawing of each backbone to compare with."""
    space = search.space
    return {
        f'reference{number}': Picture(
            f'reference{number}',
            f'{reference.name}, {space.format_stages(reference.path)}.',
            partial(draw_architecture, space, reference.path),
        )
        for number, reference in enumerate(search.references, 1)
    }


def _comparison(searches: Sequence[Search]) -> dict[str, Picture]:
    """Return the chart of several searches."""
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
        partial(
            draw_comparison,
            [(s.name, progress(s.candidates, s.top)) for s in started],
            started[0].score_label,
        ),
    )
    return {'comparison': picture}


def differing_settings(searches: Sequence[Search]) -> str:
    """Name what differs between searches, as part of a sentence."""
    names = []
    for field, name in _COMPARED.items():
        values = [getattr(search.header, field) for search in searches]
        if any(value != values[0] for value in values):
            names.append(name)
    return ' and '.join(filter(None, [', '.join(names[:-1]), *names[-1:]]))


def _render_page(
    searches: Sequence[Search],
    pictures: Sequence[Mapping[str, Picture]],
    comparison: Mapping[str, Picture],
    folder: str,
) -> str:
    """Return the page as HTML, with all text of the records escaped."""
    environment = Environment(
        loader=PackageLoader('detnas_mm.visualization'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        magnitude=magnitude, duration=duration, unbroken=_unbroken
    )
    return environment.get_template('report.html').render(
        searches=searches,
        pictures=pictures,
        comparison=comparison,
        folder=folder,
        colors=COLORS,
        sizes=(WIDE, NARROW),
        rows=ROWS,
        fittest=fittest,
        timing=timing,
        predictions=predictions,
        effects_by_block=effects_by_block,
        differing_settings=differing_settings,
        use_lines=use_lines,
        settings=settings_text,
    )


def _unbroken(text: str) -> str:
    """Keep a number and its unit in one line."""
    return text.replace(' ', '\N{NO-BREAK SPACE}')


def settings_text(settings: Mapping) -> str:
    """Return the settings that are set, as text for a reader."""
    parts = []
    for name, value in settings.items():
        # Neck and heads count only if the whole detector is bounded.
        if value is None or (name.startswith('rest_') and not value):
            continue
        if isinstance(value, Mapping):
            value = f'({settings_text(value)})'
        if isinstance(value, (list, tuple)):
            value = ' '.join(map(str, value))
        is_large = isinstance(value, (int, float)) and value >= 10_000
        parts.append(f'{name} {magnitude(value) if is_large else value}')
    return ', '.join(parts)


def use_lines(search: Search, candidate: Candidate) -> str:
    """Return the lines to paste into the config of a detector."""
    supernet = SupernetSettings.from_config(
        search.space,
        search.header.shuffle,
        search.header.settings,
        search.header.imports,
    )
    return model_text(supernet, search.space.parse(candidate.path))
