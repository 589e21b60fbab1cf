"""mmdet's ``CocoMetric`` with all decimals, computed by hotcoco."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import Self

import hotcoco
import numpy as np
from mmdet.datasets.api_wrappers import COCO
from mmdet.evaluation import CocoMetric
from mmengine.logging import MMLogger
from pycocotools import mask
from pycocotools.cocoeval import COCOeval

from detnas_mm.evaluation.coco_truth import CocoTruth
from detnas_mm.evaluation.unrounded import ExactMetric
from detnas_mm.registry import METRICS
from detnas_mm.utils.errors import InputError

# Place of each metric in `COCOeval.stats`; the names are mmdet's.
_BOX_ITEMS = {
    'mAP': 0,
    'mAP_50': 1,
    'mAP_75': 2,
    'mAP_s': 3,
    'mAP_m': 4,
    'mAP_l': 5,
}
_RECALL_ITEMS = {
    'AR@100': 6,
    'AR@300': 7,
    'AR@1000': 8,
    'AR_s@1000': 9,
    'AR_m@1000': 10,
    'AR_l@1000': 11,
}
_ITEMS = _BOX_ITEMS | _RECALL_ITEMS


@METRICS.register_module()
class ExactCocoMetric(ExactMetric, CocoMetric):
    """``CocoMetric`` with all decimals, many times faster.

    Settings and keys are mmdet's. The numbers are equal to those of
    pycocotools to the last bit, except where its numbers are wrong:
    annotation ids have no influence here, and with ``classwise`` each
    precision gets the name of its own class if the file does not list the
    categories by id.
    """

    @classmethod
    def from_mmdet(cls, metric: CocoMetric) -> Self:
        """Returns a metric with the settings and data of mmdet's metric.

        Raises:
            InputError: If the annotation file cannot be used.
        """
        exact = super().from_mmdet(metric)
        if exact._coco_api is not None and exact.dataset_meta:
            # Read it now, so that a search ends before its first candidate.
            _ = exact._truth
        return exact

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes the metrics from what ``process`` keeps of each image.

        Raises:
            InputError: If the ground truth cannot be used, or lacks an image
                of the data loader.
        """
        if self.format_only:
            return super().compute_metrics(results)
        truths, predictions = zip(*results, strict=True)
        if self._coco_api is None:
            self._coco_api = self._loaded_truth(truths)
        self._require_images(predictions)
        if self.outfile_prefix is not None:
            self.results2json(predictions, self.outfile_prefix)
        logger = MMLogger.get_current_instance()
        metrics = {}
        for kind in self.metrics:
            logger.info(f'Evaluating {kind}...')
            if kind == 'proposal_fast':
                metrics.update(self._fast_recalls(predictions, logger))
                continue
            if kind == 'segm' and 'masks' not in predictions[0]:
                raise KeyError('segm is not in results')
            if not any(len(p['labels']) for p in predictions):
                logger.error('no box was predicted in the whole data set')
                break
            evaluation = self._evaluation(kind, predictions)
            if kind == 'proposal':
                items, prefix = _RECALL_ITEMS, ''
            else:
                items, prefix = _BOX_ITEMS, f'{kind}_'
                if self.classwise:
                    metrics.update(self._class_precisions(evaluation))
                box_stats = ' '.join(f'{v:.3f}' for v in evaluation.stats[:6])
                logger.info(f'{kind}_mAP_copypaste: {box_stats}')
            metrics.update(self._named(evaluation.stats, items, prefix))
        return metrics

    @cached_property
    def _truth(self) -> CocoTruth:
        api = self._coco_api
        if self.cat_ids is None:
            classes = self.dataset_meta['classes']
            self.cat_ids = api.get_cat_ids(cat_names=classes)
        if self.img_ids is None:
            self.img_ids = api.get_img_ids()
        return CocoTruth(api, self.cat_ids)

    def _loaded_truth(self, truths: Sequence[Mapping]) -> COCO:
        """Returns the ground truth of the data samples, by way of a file."""
        with TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or f'{folder}/results'
            return COCO(self.gt_to_coco_json(truths, prefix))

    def _require_images(self, predictions: Sequence[Mapping]) -> None:
        left = dict(self._truth.image_numbers)
        for prediction in predictions:
            if left.pop(prediction['img_id'], None) is None:
                raise InputError(
                    f'image {prediction["img_id"]!r} of the data loader is '
                    'read twice, or not in the annotation file of the metric; '
                    'both must use the same file, in the same order'
                )

    def _fast_recalls(
        self, predictions: Sequence[Mapping], logger: MMLogger
    ) -> dict[str, float]:
        recalls = self.fast_eval_recall(
            predictions, self.proposal_nums, self.iou_thrs, logger
        )
        names = [f'AR@{number}' for number in self.proposal_nums]
        return dict(zip(names, map(float, recalls), strict=True))

    def _evaluation(
        self, kind: str, predictions: Sequence[Mapping]
    ) -> COCOeval:
        """Returns an evaluation of pycocotools with the results of hotcoco.

        pycocotools computes the summary, which depends in many ways on the
        numbers of boxes and on the thresholds.
        """
        iou_type = 'segm' if kind == 'segm' else 'bbox'
        truth, detections = self._inputs(kind, predictions)
        summary = COCOeval(iouType=iou_type)
        summary.params.iouThrs = np.atleast_1d(self.iou_thrs)
        summary.params.maxDets = sorted(self.proposal_nums)
        computation = hotcoco.COCOeval(truth, detections, iou_type)
        params = computation.params
        params.imgIds = list(self._truth.image_numbers.values())
        params.catIds = [1] if kind == 'proposal' else truth.get_cat_ids()
        params.iouThrs = summary.params.iouThrs.tolist()
        params.maxDets = summary.params.maxDets
        computation.evaluate()
        computation.accumulate()
        summary.eval = computation.eval
        summary.summarize()
        return summary

    def _inputs(
        self, kind: str, predictions: Sequence[Mapping]
    ) -> tuple[hotcoco.COCO, hotcoco.COCO]:
        """Returns the ground truth and the predictions for hotcoco."""
        truth = self._truth
        labels = np.concatenate([p['labels'] for p in predictions])
        if labels.max(initial=0) >= len(truth.category_numbers):
            raise InputError(
                f'the detector predicts the class number {labels.max()}, but '
                f'the metric has {len(truth.category_numbers)} classes: set '
                '`num_classes` of the bbox_head to their number'
            )
        numbers = [truth.image_numbers[p['img_id']] for p in predictions]
        boxes = np.concatenate([p['bboxes'] for p in predictions])
        boxes = boxes.astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        score = 'scores'
        if kind == 'segm' and 'mask_scores' in predictions[0]:
            score = 'mask_scores'
        columns = np.column_stack(
            (
                np.repeat(numbers, [len(p['labels']) for p in predictions]),
                boxes,
                np.concatenate([p[score] for p in predictions]),
                truth.category_numbers[labels],
            )
        )
        if kind == 'bbox':
            return truth.boxes, truth.boxes.load_res(columns)
        if kind == 'proposal':
            columns[:, -1] = 1
            # See `CocoTruth.proposals`.
            columns = columns[np.argsort(labels, kind='stable')]
            return truth.proposals, truth.proposals.load_res(columns)
        masks = [rle for p in predictions for rle in p['masks']]
        detections = truth.masks.load_res(columns, segmentation=masks)
        # Without this, the area is the area of the box.
        detections.update_anns(
            ids=np.arange(1, len(masks) + 1), area=mask.area(masks)
        )
        return truth.masks, detections

    def _class_precisions(self, evaluation: COCOeval) -> dict[str, float]:
        """Returns the mean precision of each class, NaN without objects."""
        metrics = {}
        # (thresholds, recalls, categories, areas, numbers of boxes)
        precisions = evaluation.eval['precision'][:, :, :, 0, -1]
        numbers = self._truth.category_numbers
        for category, number in zip(self.cat_ids, numbers, strict=True):
            precision = precisions[:, :, number - 1]
            precision = precision[precision > -1]
            value = precision.mean() if precision.size else np.nan
            name = self._coco_api.cats[category]['name']
            metrics[f'{name}_precision'] = float(value)
        return metrics

    def _named(
        self, stats: np.ndarray, items: Mapping[str, int], prefix: str
    ) -> dict[str, float]:
        names = list(items)
        if self.metric_items is not None:
            names = self.metric_items
        for name in names:
            if name not in _ITEMS:
                raise KeyError(f'metric item "{name}" is not supported')
        return {prefix + name: float(stats[_ITEMS[name]]) for name in names}
