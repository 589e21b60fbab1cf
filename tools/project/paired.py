"""Comparison of detectors on the same images."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import hotcoco
import numpy as np
from scipy import stats

_DRAWS = 1000


@dataclass(frozen=True)
class Difference:
    """A difference of mAP, with intervals of 95 %.

    Attributes:
        mean: Mean over the trainings.
        over_images: Interval of a paired bootstrap over the images; of
            several trainings, the mean of their intervals.
        over_trainings: Interval of Student's t over the trainings, None with
            one of each.
    """

    mean: float
    over_images: tuple[float, float]
    over_trainings: tuple[float, float] | None

    @property
    def is_shown(self) -> bool:
        """Whether no interval has the other sign or zero."""
        ends = *self.over_images, *(self.over_trainings or ())
        return min(ends) > 0 or max(ends) < 0


def evaluate(
    truth: str | Path, predictions: Sequence[Mapping]
) -> hotcoco.COCOeval:
    """Evaluate boxes against an annotation file in COCO's format.

    Args:
        truth: The file; its categories are in the order of labels.
        predictions: For each image its ``img_id`` and ``pred_instances``, as
            ``tools/test.py --out`` writes them.
    """
    coco = hotcoco.COCO(str(truth))
    categories = np.array([c['id'] for c in coco.dataset['categories']])
    rows = [np.empty((0, 7))]
    for prediction in predictions:
        found = prediction['pred_instances']
        boxes = np.array(found['bboxes'], float).reshape(-1, 4)
        boxes[:, 2:] -= boxes[:, :2]
        images = np.full(len(boxes), prediction['img_id'])
        labels = np.array(found['labels'], int)
        scores = np.array(found['scores'], float)
        columns = images, boxes, scores, categories[labels]
        rows.append(np.column_stack(columns))
    evaluation = hotcoco.COCOeval(
        coco, coco.load_res(np.concatenate(rows)), 'bbox'
    )
    evaluation.evaluate()
    evaluation.accumulate()
    # It prints a table.
    with contextlib.redirect_stdout(None):
        evaluation.summarize()
    return evaluation


def difference(
    first: Sequence[hotcoco.COCOeval],
    second: Sequence[hotcoco.COCOeval],
    seed: int = 0,
) -> Difference:
    """Compare two networks, each trained with the same seeds."""
    pairs = [
        hotcoco.compare(b, a, n_bootstrap=_DRAWS, seed=seed)
        for a, b in zip(first, second, strict=True)
    ]
    mean = float(np.mean([pair['deltas']['AP'] for pair in pairs]))
    ends = [(p['ci']['AP']['lower'], p['ci']['AP']['upper']) for p in pairs]
    scores = np.array([[e.stats[0] for e in net] for net in (first, second)])
    spread = None
    count = len(pairs)
    if count > 1:
        error = np.sqrt(scores.var(axis=1, ddof=1).sum() / count)
        half = float(stats.t.ppf(0.975, 2 * count - 2) * error)
        spread = mean - half, mean + half
    return Difference(mean, tuple(np.mean(ends, axis=0).tolist()), spread)
