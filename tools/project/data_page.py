"""A page to look at before training: images, classes, boxes and anchors."""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageOps
from project.templates import Project

from detnas_mm.projects.budget import Plan
from detnas_mm.projects.formats import LabeledImage
from detnas_mm.projects.statistics import Anchors, fit_anchors
from detnas_mm.visualization.theme import (
    COLORS,
    INK,
    SERIES,
    inline_svg,
    style,
    svg,
)

SHOWN, WIDTH = 12, 360
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
:root {{ {colors} }}
body {{ font: 16px/1.5 sans-serif; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; color: var(--ink); background: var(--surface); }}
.images {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; }} figure img {{ max-width: 100%; display: block; }}
figcaption {{ font-size: 0.85rem; max-width: {width}px;
  overflow-wrap: anywhere; }}
td, th {{ padding: 0.2rem 0.8rem; text-align: right; }}
th:first-child {{ text-align: left; }}
svg {{ max-width: 100%; height: auto; }}
</style></head><body><h1>{title}</h1>
<p>{lead}</p>
<h2>Parts</h2>{table}
<h2>What the check found</h2>{notes}
<h2>Boxes and anchors</h2><p>{boxes}</p>{chart}
<h2>Images</h2><p>{legend}</p><div class="images">{images}</div>
</body></html>
"""


def data_page(
    project: Project,
    plan: Plan,
    parts: Mapping[str, Sequence[LabeledImage]],
    notes: Sequence[str],
) -> str:
    """Returns the page as HTML that needs no other file."""
    fit = fit_anchors(plan.factor * project.shapes)
    size = ' x '.join(str(round(s * plan.factor)) for s in project.size)
    colors = {
        name: SERIES[i % len(SERIES)] for i, name in enumerate(project.classes)
    }
    lines = [f'<li>{escape(note)}</li>' for note in notes]
    figures = [
        _figure(image, part, colors) for part, image in _chosen(project, parts)
    ]
    chart = _chart(plan.factor * project.shapes, fit)
    return PAGE.format(
        title=escape(f'Data of {project.root.name}'),
        width=WIDTH,
        colors=' '.join(
            f'--{n}: {light};' for n, (light, _) in COLORS.items()
        ),
        lead=escape(
            'No image is in two parts. Networks are trained on train, '
            'compared on search, and judged once on test.'
        ),
        table=_table(project, parts),
        notes=f'<ul>{"".join(lines)}</ul>' if lines else '<p>Nothing.</p>',
        boxes=f'On images of {size}. {fit.covered:.1%} of the training boxes '
        'overlap the best anchor by half (IoU of at least 0.5).',
        chart=inline_svg(chart, 'boxes', 'Sizes of boxes and of anchors.'),
        legend=', '.join(
            f'<b style="color: {color}">{escape(name)}</b>'
            for name, color in colors.items()
        ),
        images='\n'.join(figures),
    )


def _table(
    project: Project, parts: Mapping[str, Sequence[LabeledImage]]
) -> str:
    rows = []
    for name, images in parts.items():
        boxes = Counter(box.name for i in images for box in i.boxes)
        empty = sum(not image.boxes for image in images)
        numbers = [len(images), empty, *(boxes[c] for c in project.classes)]
        cells = ''.join(f'<td>{number:,}</td>' for number in numbers)
        rows.append(f'<tr><th>{name}</th>{cells}</tr>')
    names = ('', 'images', 'without boxes', *project.classes)
    head = ''.join(f'<th>{escape(name)}</th>' for name in names)
    return f'<table><tr>{head}</tr>{"".join(rows)}</table>'


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


def _figure(image: LabeledImage, part: str, colors: Mapping[str, str]) -> str:
    with Image.open(image.file) as file:
        picture = ImageOps.exif_transpose(file) if image.is_turned else file
        picture = picture.convert('RGB')
    factor = min(WIDTH / picture.width, 1)
    size = (round(picture.width * factor), round(picture.height * factor))
    picture = picture.resize(size)
    draw = ImageDraw.Draw(picture)
    for box in image.boxes:
        x, y, right, low = box.x, box.y, box.x + box.width, box.y + box.height
        corners = [v * factor for v in (x, y, right, low)]
        draw.rectangle(corners, outline=colors[box.name], width=2)
    buffer = io.BytesIO()
    picture.save(buffer, 'JPEG', quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="" src="data:image/jpeg;base64,{data}">'
        f'<figcaption>{escape(image.file.name)}, {part}, '
        f'{len(image.boxes)} boxes</figcaption></figure>'
    )


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
