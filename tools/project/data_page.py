"""A page to look at before training: images, classes, boxes and anchors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from matplotlib.figure import Figure
from project.budget import Plan
from project.html import (
    class_colors,
    draw_boxes,
    figure,
    legend,
    page,
    table,
)
from project.templates import KNOWN_DETECTORS, Project

from detnas_mm.projects.formats import LabeledImage
from detnas_mm.projects.statistics import Anchors, fit_anchors
from detnas_mm.visualization.theme import (
    INK,
    SERIES,
    inline_svg,
    style,
    svg,
)

SHOWN = 12
BODY = """<p>{lead}</p>
<h2>Parts</h2>{table}
<h2>What the check found</h2>{notes}
<h2>Boxes and anchors</h2><p>{boxes}</p>{chart}
<h2>Images</h2><p>{legend}</p><div class="images">{images}</div>"""


def data_page(
    project: Project,
    plan: Plan,
    parts: Mapping[str, Sequence[LabeledImage]],
    notes: Sequence[str],
) -> str:
    """Returns the page as HTML that needs no other file."""
    fit = fit_anchors(plan.factor * project.shapes)
    size = ' x '.join(str(round(s * plan.factor)) for s in project.size)
    colors = class_colors(project.classes)
    lines = [f'<li>{escape(note)}</li>' for note in notes]
    figures = [
        figure(
            draw_boxes(image.file, image.boxes, colors, image.is_turned),
            f'{image.file.name}, {part}, {len(image.boxes)} boxes',
        )
        for part, image in _chosen(project, parts)
    ]
    whose = 'the best anchor'
    if project.detector not in KNOWN_DETECTORS:
        # Its anchors, if it has any, are those of its config.
        whose = 'the best of the anchors drawn here, which would fit,'
    chart = _chart(plan.factor * project.shapes, fit)
    body = BODY.format(
        lead=escape(
            'No image is in two parts. Networks are trained on train, '
            'compared on search, and judged once on test.'
        ),
        table=_table(project, parts),
        notes=f'<ul>{"".join(lines)}</ul>' if lines else '<p>Nothing.</p>',
        boxes=f'On images of {size}. {fit.covered:.1%} of the training boxes '
        f'overlap {whose} by half (IoU of at least 0.5).',
        chart=inline_svg(chart, 'boxes', 'Sizes of boxes and of anchors.'),
        legend=legend(colors),
        images=''.join(figures),
    )
    return page(f'Data of {project.root.name}', body)


def _table(
    project: Project, parts: Mapping[str, Sequence[LabeledImage]]
) -> str:
    rows = []
    for name, images in parts.items():
        boxes = Counter(box.name for i in images for box in i.boxes)
        empty = sum(not image.boxes for image in images)
        numbers = [len(images), empty, *(boxes[c] for c in project.classes)]
        rows.append([name, *(f'{number:,}' for number in numbers)])
    return table(('', 'images', 'without boxes', *project.classes), rows)


def _chosen(
    project: Project, parts: Mapping[str, Sequence[LabeledImage]]
) -> list[tuple[str, LabeledImage]]:
    """Returns images that show every class and every part."""
    known = [(part, i) for part, images in parts.items() for i in images]
    chosen = []
    for name in project.classes:
        has = [p for p in known if any(b.name == name for b in p[1].boxes)]
        chosen += [pair for pair in has[:1] if pair not in chosen]
    # Digests order the images of a part, so these are random ones.
    for index in range(SHOWN):
        for part, images in parts.items():
            if index < len(images) and (part, images[index]) not in chosen:
                chosen.append((part, images[index]))
    return chosen[:SHOWN]


def _chart(shapes: np.ndarray, fit: Anchors) -> str:
    """Draws width and height of boxes, and those of the anchors."""
    sides = fit.base * 8 * 2 ** (np.arange(3 * fit.levels) / 3)
    roots = np.sqrt(fit.ratios)
    with style():
        figure = Figure(figsize=(6, 5), layout='constrained')
        axes = figure.subplots()
        axes.set_xscale('log', base=2)
        axes.set_yscale('log', base=2)
        rng = np.random.default_rng(0)
        some = rng.permutation(shapes)[:2000]
        axes.plot(*some.T, '.', color=SERIES[0], markersize=3, label='boxes')
        for root in roots:
            axes.plot(
                sides / root,
                sides * root,
                's',
                color=INK,
                markerfacecolor='none',
                label='anchors' if root == roots[0] else None,
            )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter('{x:g}')
        axes.set(xlabel='width (pixels)', ylabel='height (pixels)')
        axes.legend()
    return svg(figure)
