"""The page of a verdict: numbers, and predictions beside the truth."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from mmengine.config import Config
from PIL import Image
from project.html import (
    class_colors,
    draw_boxes,
    figure,
    legend,
    page,
    table,
)

from detnas_mm.projects.formats import Box

SHOWN, SCORE = 6, 0.3
BODY = """<ul>{sentences}</ul>
{numbers}
<p>{explanation}</p>
<h2>Predictions of the found network</h2>
<p>Left the annotations, right all boxes with a score of at least {score}:
{legend}</p><div class="images">{images}</div>
<h2>Next</h2><pre>{commands}</pre>"""


def verdict_page(
    project: Path,
    rows: Sequence[Mapping],
    sentences: Sequence[str],
    found: Sequence[Mapping],
    checkpoint: str,
) -> str:
    """Returns the page as HTML.

    Args:
        project: The folder of the project.
        rows: Numbers of each network.
        sentences: The differences; the last one explains the numbers.
        found: The predictions of the found network on the test images.
        checkpoint: Its weights, relative to the project.
    """
    classes = list(rows[0]['per_class'])
    head = ('', 'path', 'MACs (M)', 'params (M)', 'search', 'test', *classes)
    cells = [
        [
            row['net'],
            row['path'],
            f'{row["macs"] / 1e6:.1f}',
            f'{row["params"] / 1e6:.3f}',
            f'{row["search"]:.4f}',
            f'{row["test"]:.4f}',
            *map(precision, row['per_class'].values()),
        ]
        for row in rows
    ]
    colors = class_colors(classes)
    path = rows[0]['path']
    data = Config.fromfile(project / 'detector.py').test_dataloader.dataset
    *differences, explanation = sentences
    return page(
        'Verdict',
        BODY.format(
            sentences=''.join(f'<li>{escape(s)}</li>' for s in differences),
            numbers=table(head, cells),
            explanation=escape(explanation),
            score=SCORE,
            legend=legend(colors),
            images=''.join(_figures(project, data, found, colors)),
            commands=escape(
                f'export DETNAS_MM=REPOSITORY\n'
                'python REPOSITORY/tools/deploy/export_detector.py '
                f'detector.py \\\n    {checkpoint} \\\n    detector.onnx '
                f'--cfg-options model.backbone.path={path}'
            ),
        ),
    )


def precision(value: float) -> str:
    """Returns the AP of a class, which is -1 without objects, as text."""
    return f'{value:.3f}' if value >= 0 else '-'


def _figures(
    project: Path,
    data: Config,
    found: Sequence[Mapping],
    colors: Mapping[str, str],
) -> list[str]:
    """Returns images with the annotations beside the predictions."""
    is_turned = data.pipeline[0].color_type == 'color'
    content = json.loads((project / data.ann_file).read_text())
    names = {c['id']: c['name'] for c in content['categories']}
    truth = defaultdict(list)
    for a in content['annotations']:
        box = Box(names[a['category_id']], *a['bbox'], False)
        truth[a['image_id']].append(box)
    predicted = {p['img_id']: p['pred_instances'] for p in found}
    figures = []
    # Images are in the order of their contents.
    for image in content['images'][:SHOWN]:
        instances = predicted[image['id']]
        boxes = [
            Box(list(colors)[label], x, y, right - x, low - y, False)
            for (x, y, right, low), label, score in zip(
                instances['bboxes'].tolist(),
                instances['labels'].tolist(),
                instances['scores'].tolist(),
                strict=True,
            )
            if score >= SCORE
        ]
        file = Path(data.data_prefix.img) / image['file_name']
        sides = [
            draw_boxes(file, some, colors, is_turned)
            for some in (truth[image['id']], boxes)
        ]
        both = Image.new('RGB', (2 * sides[0].width + 8, sides[0].height))
        both.paste(sides[0], (0, 0))
        both.paste(sides[1], (sides[0].width + 8, 0))
        figures.append(figure(both, image['file_name']))
    return figures
