"""``ExactCocoMetric``: the numbers of pycocotools, to the last bit."""

import contextlib
import io
import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric, VOCMetric
from mmengine.evaluator import Evaluator
from mmengine.registry import METRICS as MMENGINE_METRICS
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detnas_mm.evaluation import use_exact_metrics
from detnas_mm.evaluation.coco_metric import ExactCocoMetric
from detnas_mm.evaluation.voc_metric import ExactVOCMetric
from detnas_mm.utils.errors import InputError

SIZE = 120
ITEMS = [
    'mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@100', 'AR@300',
    'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000',
]  # fmt: skip


def random_boxes(rng, count):
    """Corners on a coarse grid, ``(N, 4)``: overlaps are often equal."""
    corner = rng.integers(0, 40, (count, 2))
    # Some are empty, and some are large for COCO.
    extent = rng.integers(0, 40, (count, 2)) * rng.choice([1, 3, 5])
    return np.concatenate((corner, corner + extent), axis=1).astype(float)


def random_masks(rng, boxes):
    """The boxes as masks with holes, ``(N, SIZE, SIZE)``."""
    masks = np.zeros((len(boxes), SIZE, SIZE), bool)
    for mask, (left, top, right, bottom) in zip(
        masks, boxes.astype(int), strict=True
    ):
        mask[top:bottom, left:right] = True
        mask[:: rng.integers(2, 9)] = False
    return masks


def encoded(mask):
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(rle, counts=rle['counts'].decode())


def random_data(seed, segm=False):
    """A data set and predictions of most of its images.

    Returns:
        The content of an annotation file, the names of the classes, and the
        data samples.
    """
    rng = np.random.default_rng(seed)
    images = rng.permutation(50)[: rng.integers(1, 8)].tolist()
    categories = (rng.permutation(9)[: rng.integers(1, 5)] + 1).tolist()
    annotations, samples = [], []
    for image in images:
        boxes = random_boxes(rng, rng.choice([0, 1, 3, 12]))
        masks = random_masks(rng, boxes) if segm else [None] * len(boxes)
        for box, mask in zip(boxes, masks, strict=True):
            width, height = (box[2:] - box[:2]).tolist()
            annotation = dict(
                id=len(annotations) + 1,
                image_id=image,
                category_id=int(rng.choice(categories)),
                bbox=[*box[:2].tolist(), width, height],
                area=width * height,
                iscrowd=int(rng.random() < 0.15),
            )
            if segm:
                annotation['segmentation'] = encoded(mask)
                annotation['area'] = float(mask.sum())
            annotations.append(annotation)
        if rng.random() < 0.9:
            labels = [
                categories.index(annotation['category_id'])
                for annotation in annotations
                if annotation['image_id'] == image
            ]
            samples.append(
                random_sample(
                    rng, image, (boxes, labels, len(categories)), segm
                )
            )
    content = dict(
        images=[dict(id=i, width=SIZE, height=SIZE) for i in images],
        categories=[dict(id=i, name=f'class{i}') for i in categories],
        annotations=annotations,
    )
    classes = tuple(f'class{i}' for i in categories)
    return content, classes, samples


def random_sample(rng, image, truth, segm):
    """The objects of an image, some of them changed, and wrong boxes."""
    boxes, labels, classes = truth
    moved = boxes + rng.choice([0, 0, 1.5], (len(boxes), 1))
    # At times more than the 100 or 300 that count.
    count = int(rng.choice([0, 2, 10, 140, 330], p=[0.2, 0.3, 0.3, 0.1, 0.1]))
    count = min(count, 20) if segm else count
    found = np.concatenate((moved, random_boxes(rng, count)))
    guesses = rng.integers(classes, size=len(found))
    right = rng.random(len(boxes)) < 0.8
    guesses[: len(boxes)][right] = np.array(labels, int)[right]
    scores = rng.random(len(found))
    scores[: len(boxes)] += rng.choice([0, 0.3])
    if rng.random() < 0.5:
        scores = scores.round(1)
    order = rng.permutation(len(found))
    found = found[order]
    predicted = dict(
        bboxes=torch.tensor(found).float(),
        scores=torch.tensor(scores[order]).float(),
        labels=torch.tensor(guesses[order]),
    )
    if segm:
        predicted['masks'] = torch.tensor(random_masks(rng, found))
        predicted['mask_scores'] = predicted['scores'].flip(0)
    return dict(img_id=image, ori_shape=(SIZE, SIZE), pred_instances=predicted)


def expected(content, classes, samples, kind, **params):
    """Drives pycocotools as mmdet does.

    Returns:
        The statistics and the precision of each class, or None without any
        prediction.
    """
    truth = COCO()
    truth.dataset = deepcopy(content)
    truth.createIndex()
    categories = truth.getCatIds(catNms=classes)
    found = []
    for sample in samples:
        predicted = sample['pred_instances']
        for index, label in enumerate(predicted['labels'].tolist()):
            left, top, right, bottom = predicted['bboxes'][index].tolist()
            result = dict(
                image_id=sample['img_id'],
                category_id=categories[label],
                score=float(predicted['scores'][index]),
            )
            if kind == 'segm':
                result['score'] = float(predicted['mask_scores'][index])
                mask = predicted['masks'][index].numpy()
                result['segmentation'] = encoded(mask)
            else:
                result['bbox'] = [left, top, right - left, bottom - top]
            found.append(result)
    if not found:
        return None
    iou_type = 'segm' if kind == 'segm' else 'bbox'
    evaluation = COCOeval(truth, truth.loadRes(found), iou_type)
    evaluation.params.catIds = categories
    evaluation.params.imgIds = truth.getImgIds()
    evaluation.params.maxDets = [100, 300, 1000]
    if kind == 'proposal':
        evaluation.params.useCats = 0
    for name, value in params.items():
        setattr(evaluation.params, name, value)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    by_class = evaluation.eval['precision'][:, :, :, 0, -1]
    precisions = {}
    if kind != 'proposal':
        for index, category in enumerate(sorted(categories)):
            values = by_class[:, :, index]
            values = values[values > -1]
            name = f'class{category}_precision'
            precisions[name] = values.mean() if values.size else np.nan
    return evaluation.stats, precisions


def evaluate(metric, classes, samples):
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def exact_metric(file, content, **settings):
    file.write_text(json.dumps(content))
    return ExactCocoMetric(ann_file=str(file), **settings)


def difference(file, seed, kind):
    """Returns what differs from pycocotools, in words, or None."""
    content, classes, samples = random_data(seed, segm=kind == 'segm')
    if not samples:
        return None
    metric = exact_metric(
        file, content, metric=kind, metric_items=ITEMS, classwise=True
    )
    with contextlib.redirect_stdout(io.StringIO()):
        found = evaluate(metric, classes, samples)
        wanted = expected(content, classes, samples, kind)
    if wanted is None:
        return None if found == {} else f'metrics without boxes: {found}'
    stats, wanted = wanted
    prefix = '' if kind == 'proposal' else f'{kind}_'
    wanted |= {
        prefix + item: value for item, value in zip(ITEMS, stats, strict=True)
    }
    wanted = {f'coco/{name}': value for name, value in wanted.items()}
    if found.keys() != wanted.keys():
        return f'{sorted(found)} for {sorted(wanted)}'
    wrong = [
        f'{name}: {found[name]!r} for {value!r}'
        for name, value in wanted.items()
        if not np.array_equal(found[name], value, equal_nan=True)
    ]
    return '; '.join(wrong) or None


def differences(file, seeds):
    kinds = ['bbox', 'bbox', 'proposal', 'segm']
    cases = [(seed, kinds[seed % len(kinds)]) for seed in seeds]
    found = {case: difference(file, *case) for case in cases}
    return {case: text for case, text in found.items() if text}


def test_numbers_are_pycocotools_numbers(tmp_path):
    assert not differences(tmp_path / 'truth.json', range(60))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_numbers_are_pycocotools_numbers_in_2000_data_sets(tmp_path):
    assert not differences(tmp_path / 'truth.json', range(60, 2060))


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'truth.json'


SETTINGS = [
    dict(metric='bbox'),
    dict(metric=['bbox', 'segm', 'proposal'], classwise=True),
    dict(metric=['proposal', 'bbox'], metric_items=['AR@300']),
    dict(iou_thrs=np.array([0.5, 0.75]), proposal_nums=(100, 3, 10)),
    dict(proposal_nums=(1, 3, 10), classwise=True),
]


def sorted_data(seed, segm=False):
    """Like ``random_data``, with categories that are sorted by id.

    In other orders mmdet mixes up the names of ``classwise``.
    """
    content, _, samples = random_data(seed, segm)
    content['categories'].sort(key=lambda category: category['id'])
    classes = tuple(category['name'] for category in content['categories'])
    return content, classes, samples


@pytest.mark.parametrize('settings', SETTINGS)
def test_keys_and_rounded_numbers_are_mmdet_numbers(file, settings):
    content, classes, samples = sorted_data(17, segm=True)
    found = evaluate(exact_metric(file, content, **settings), classes, samples)
    rounded = evaluate(
        CocoMetric(ann_file=str(file), **settings), classes, samples
    )
    numbers = {k: v for k, v in rounded.items() if 'copypaste' not in k}
    assert list(found) == list(numbers)
    assert len(set(numbers.values())) > 1
    for name, value in numbers.items():
        assert type(found[name]) is float
        assert found[name] == pytest.approx(value, abs=5.1e-4, nan_ok=True)


def test_fast_recalls_are_mmdet_numbers(file):
    """With one image: mmdet and NumPy 1.24 fail for more."""
    content, classes, samples = random_data(22, segm=True)
    file.write_text(json.dumps(content))
    found, wanted = (
        evaluate(
            kind(ann_file=str(file), metric='proposal_fast'), classes, samples
        )
        for kind in (ExactCocoMetric, CocoMetric)
    )
    assert found == wanted
    assert found['coco/AR@100'] > 0


def truth_from(samples, content, classes):
    """Adds the ground truth to data samples, as mmdet's data sets do."""
    names = {c['id']: c['name'] for c in content['categories']}
    samples = deepcopy(samples)
    for sample in samples:
        sample['instances'] = []
        for annotation in content['annotations']:
            if annotation['image_id'] == sample['img_id']:
                left, top, width, height = annotation['bbox']
                sample['instances'].append(
                    dict(
                        bbox=[left, top, left + width, top + height],
                        bbox_label=classes.index(
                            names[annotation['category_id']]
                        ),
                        ignore_flag=annotation['iscrowd'],
                    )
                )
    return samples


def test_ground_truth_of_the_data_samples_gives_the_same(file):
    content, classes, samples = sorted_data(17)
    content['images'] = [dict(id=s['img_id']) for s in samples]
    wanted = evaluate(exact_metric(file, content), classes, samples)
    metric = ExactCocoMetric()
    with_truth = truth_from(samples, content, classes)
    assert evaluate(metric, classes, with_truth) == wanted
    # For the next candidate it is there.
    assert evaluate(metric, classes, with_truth) == wanted
    assert any(value > 0 for value in wanted.values())


@pytest.mark.parametrize('format_only', [False, True])
def test_files_are_mmdet_files(tmp_path, file, format_only):
    content, classes, samples = sorted_data(17, segm=True)
    file.write_text(json.dumps(content))
    texts = []
    for kind in (CocoMetric, ExactCocoMetric):
        prefix = tmp_path / kind.__name__
        metric = kind(
            ann_file=str(file),
            metric=['bbox', 'segm'],
            format_only=format_only,
            outfile_prefix=str(prefix),
        )
        metrics = evaluate(metric, classes, samples)
        assert bool(metrics) is not format_only
        texts.append(
            {
                path.name.removeprefix(prefix.name): path.read_text()
                for path in tmp_path.glob(f'{prefix.name}.*')
            }
        )
    assert texts[0] == texts[1]
    assert set(texts[0]) == {'.bbox.json', '.segm.json'}


@pytest.mark.parametrize('kind', ['bbox', 'proposal', 'segm'])
def test_without_a_predicted_box_there_are_no_metrics(file, kind):
    content, classes, samples = random_data(17, segm=True)
    for sample in samples:
        predicted = sample['pred_instances']
        for name, value in predicted.items():
            predicted[name] = value[:0]
    metric = exact_metric(file, content, metric=kind)
    assert evaluate(metric, classes, samples) == {}


def test_masks_must_be_predicted(file):
    content, classes, samples = random_data(17)
    metric = exact_metric(file, content, metric='segm')
    with pytest.raises(KeyError, match='segm is not in results'):
        evaluate(metric, classes, samples)


ODD_IDS = {
    'from 0': lambda index, image: index,
    'negative': lambda index, image: -index,
    'text': lambda index, image: f'{index:06d}',
    'partly text': lambda index, image: str(index) if index % 2 else index,
    'fractions': lambda index, image: index + 0.5,
    'of 64 bits': lambda index, image: 2**63 + index,
    'unique in an image': lambda index, image: index - image,
    'all equal': lambda index, image: 7,
    'null': lambda index, image: None,
}


@pytest.mark.parametrize('kind', ['bbox', 'proposal', 'segm'])
def test_annotation_ids_do_not_matter(file, kind):
    content, classes, samples = random_data(17, segm=True)
    wanted = evaluate(
        exact_metric(file, content, metric=kind), classes, samples
    )
    problems = {}
    for name, odd_id in ODD_IDS.items():
        first = {}
        for index, annotation in enumerate(content['annotations']):
            begin = first.setdefault(annotation['image_id'], index)
            annotation['id'] = odd_id(index, begin)
        metric = exact_metric(file, content, metric=kind)
        found = evaluate(metric, classes, samples)
        if found != wanted:
            problems[name] = found
    assert not problems
    assert any(value > 0 for value in wanted.values())


@pytest.mark.parametrize(
    'odd_id',
    [
        lambda i: f'{i:03d}',
        lambda i: 2**53 + 2 * i + 1,
        lambda i: 2**64 + i,
        lambda i: -1 / (i + 1),
    ],
)
def test_image_and_category_ids_may_be_of_any_type(file, odd_id):
    content, classes, samples = random_data(17)
    wanted = evaluate(exact_metric(file, content), classes, samples)
    for field, owners in (
        ('id', [*content['images'], *content['categories']]),
        ('image_id', content['annotations']),
        ('category_id', content['annotations']),
        ('img_id', samples),
    ):
        for owner in owners:
            owner[field] = odd_id(owner[field])
    assert evaluate(exact_metric(file, content), classes, samples) == wanted


def test_missing_fields_are_completed(file):
    content, classes, samples = random_data(17)
    for annotation in content['annotations']:
        annotation['iscrowd'] = 0
    wanted = evaluate(exact_metric(file, content), classes, samples)
    for number, annotation in enumerate(content['annotations']):
        for name in ('area', 'iscrowd'):
            annotation[name] = None
            if number % 2:
                del annotation[name]
    assert evaluate(exact_metric(file, content), classes, samples) == wanted


def test_what_is_no_number_is_refused_before_the_search(file):
    content, classes, _ = random_data(17)
    content['annotations'][1]['area'] = '9'
    file.write_text(json.dumps(content))
    metric = CocoMetric(ann_file=str(file))
    metric.dataset_meta = dict(classes=classes)
    number = content['annotations'][1]['id']
    with pytest.raises(InputError, match=f'ion {number} .*: `area` is '):
        use_exact_metrics(Evaluator([metric]))


@pytest.mark.parametrize('kind', [CocoMetric, VOCMetric])
def test_thresholds_in_percent_are_refused(kind):
    """No overlap is above 1: all scores would be 0."""
    for wrong in ([50.0, 75.0], [-0.5], [], ['0.5']):
        metric = kind()
        metric.iou_thrs = wrong
        with pytest.raises(InputError, match='`iou_thrs` must be numbers fr'):
            use_exact_metrics(Evaluator([metric]))


def test_image_that_the_file_lacks_is_refused(file):
    content, classes, samples = random_data(17)
    samples[-1]['img_id'] = 'elsewhere'
    with pytest.raises(InputError, match="image 'elsewhere' of the data loa"):
        evaluate(exact_metric(file, content), classes, samples)
    samples[-1]['img_id'] = samples[0]['img_id']
    with pytest.raises(InputError, match='is read twice'):
        evaluate(exact_metric(file, content), classes, samples)


def test_class_that_the_metric_does_not_have_is_refused(file):
    content, classes, samples = random_data(17)
    pred = samples[0]['pred_instances']
    pred['labels'] = torch.full_like(pred['labels'], len(classes))
    with pytest.raises(InputError, match=f'class number {len(classes)}, but'):
        evaluate(exact_metric(file, content), classes, samples)


def test_annotations_of_nothing_do_not_count(file):
    content, classes, samples = random_data(17)
    wanted = evaluate(exact_metric(file, content), classes, samples)
    extra = dict(content['annotations'][0], image_id='elsewhere')
    content['annotations'].append(extra)
    assert evaluate(exact_metric(file, content), classes, samples) == wanted


def test_box_of_nan_is_a_wrong_box(file):
    """In pycocotools it overlaps with everything."""
    content, classes, samples = random_data(17)
    wanted = evaluate(exact_metric(file, content), classes, samples)
    boxes = samples[0]['pred_instances']['bboxes']
    boxes[:] = float('nan')
    found = evaluate(exact_metric(file, content), classes, samples)
    assert found['coco/bbox_mAP'] < wanted['coco/bbox_mAP']


class OwnCocoMetric(CocoMetric):
    """A user's metric."""


def test_exactly_the_metrics_of_mmdet_are_replaced(file):
    content, classes, samples = random_data(17)
    file.write_text(json.dumps(content))
    settings = dict(ann_file=str(file), metric=['bbox', 'proposal'])
    mine = [OwnCocoMetric(), ExactCocoMetric()]
    evaluator = Evaluator(
        [CocoMetric(prefix='a', **settings), VOCMetric(), *mine]
    )
    evaluator.dataset_meta = dict(classes=classes)
    use_exact_metrics(evaluator)
    coco, voc, *others = evaluator.metrics
    assert others == mine
    assert type(voc) is ExactVOCMetric
    found = evaluate(coco, classes, samples)
    wanted = evaluate(
        exact_metric(file, content, metric=settings['metric'], prefix='a'),
        classes,
        samples,
    )
    assert found == wanted
    assert 'a/bbox_mAP' in found


def test_metric_is_registered():
    built = MMENGINE_METRICS.build(dict(type='detnas_mm.ExactCocoMetric'))
    assert type(built) is ExactCocoMetric
