"""Parts of pages that need no other file."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from detnas_mm.projects.formats import Box
from detnas_mm.visualization.theme import COLORS, SERIES

# Pixels of an image on a page.
WIDTH = 360
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
svg {{ max-width: 100%; height: auto; }} pre {{ overflow-x: auto; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def page(title: str, body: str) -> str:
    """Returns a page with a title, both of which are put into HTML."""
    colors = ' '.join(f'--{n}: {light};' for n, (light, _) in COLORS.items())
    return PAGE.format(
        title=escape(title), body=body, colors=colors, width=WIDTH
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table whose first column names the rows."""
    names = ''.join(f'<th>{escape(name)}</th>' for name in head)
    lines = [
        f'<tr><th>{escape(first)}</th>'
        + ''.join(f'<td>{escape(cell)}</td>' for cell in rest)
        + '</tr>'
        for first, *rest in rows
    ]
    return f'<table><tr>{names}</tr>{"".join(lines)}</table>'


def class_colors(classes: Sequence[str]) -> dict[str, str]:
    """Returns the color of each class."""
    return {n: SERIES[i % len(SERIES)] for i, n in enumerate(classes)}


def legend(colors: Mapping[str, str]) -> str:
    """Returns the names of the classes in their colors."""
    return ', '.join(
        f'<b style="color: {color}">{escape(name)}</b>'
        for name, color in colors.items()
    )


def draw_boxes(
    file: Path,
    boxes: Iterable[Box],
    colors: Mapping[str, str],
    is_turned: bool | None,
) -> Image.Image:
    """Returns an image with boxes, at the width of a page's images."""
    with Image.open(file) as image:
        picture = ImageOps.exif_transpose(image) if is_turned else image
        picture = picture.convert('RGB')
    factor = min(WIDTH / picture.width, 1)
    picture = picture.resize(
        (round(picture.width * factor), round(picture.height * factor))
    )
    draw = ImageDraw.Draw(picture)
    for box in boxes:
        # The last pixel is inside the box.
        right, low = box.x + box.width - 1, box.y + box.height - 1
        corners = [v * factor for v in (box.x, box.y, right, low)]
        corners[2:] = map(max, corners[2:], corners[:2])
        draw.rectangle(corners, outline=colors[box.name], width=2)
    return picture


def figure(picture: Image.Image, caption: str) -> str:
    """Returns an image with its caption."""
    buffer = io.BytesIO()
    picture.save(buffer, 'JPEG', quality=80)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f'<figure><img alt="" src="data:image/jpeg;base64,{data}">'
        f'<figcaption>{escape(caption)}</figcaption></figure>'
    )
