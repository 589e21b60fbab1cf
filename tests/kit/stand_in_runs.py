"""Runs of the real configs on stand-ins of COCO, VOC and ImageNet.

A config runs in a folder with ``data/`` and ``work_dirs/`` and keeps all of
its file names. Only sizes, data loading and numbers of iterations are changed.
The checkpoint that it starts from is made first, by the config it names.
"""

import functools
import runpy
import sys
from copy import deepcopy
from itertools import count
from pathlib import Path
from unittest.mock import patch

import torch
import torchvision
from mmdet.datasets import CocoDataset, VOCDataset
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from kit.configs import find_config, read_config
from kit.digits_runs import ROOT, read_candidates
from kit.stand_ins import write_coco, write_imagenet, write_voc


def _detectors(width: str, *pairs: tuple[str, str]) -> list[str]:
    return [
        f'detnas/{detector}_detnas-{stage}{width}_fpn_1x_{data}'
        for stage in ('supernet-', 'search-', '')
        for detector, data in pairs
    ]


PAIRS = [('faster-rcnn', 'coco'), ('retinanet', 'voc0712')]
OTHER_PAIRS = [('faster-rcnn', 'voc0712'), ('retinanet', 'coco')]
# Of each stage and class of backbone, each detector and each data set.
RUNS = (
    'detnas/detnas-supernet-small_8xb128_in1k',
    'detnas/clsnas-search-small_8xb128_in1k',
    'detnas/detnas-small_8xb128_in1k',
    *_detectors('small', *PAIRS),
    'baselines/faster-rcnn_r50_fpn_1x_coco',
)
# Other pairs of them, widths of backbones, and supernets without pre-training.
SLOW_RUNS = (
    *_detectors('small', *OTHER_PAIRS),
    'detnas/retinanet_detnas-scratch-supernet-small_fpn_2x_coco',
    'detnas/faster-rcnn_detnas-scratch-supernet-small_fpn_2x_coco',
    'detnas/faster-rcnn_detnas-scratch-supernet-small_fpn_2x_voc0712',
    'detnas/retinanet_detnas-scratch-supernet-small_fpn_2x_voc0712',
    'detnas/clsnas-supernet-small_8xb128_in1k',
    'detnas/detnas-supernet-large_8xb128_in1k',
    'detnas/detnas-large_8xb128_in1k',
    *_detectors('large', *PAIRS, *OTHER_PAIRS),
    'baselines/shufflenetv2-20_8xb128_in1k',
    'baselines/shufflenetv2-40-1.3g_8xb128_in1k',
    'baselines/shufflenetv2-40-3.8g_8xb128_in1k',
    'detnas/detnasnet-3.8g_8xb128_in1k',
    'baselines/faster-rcnn_r101_fpn_1x_coco',
    'baselines/faster-rcnn_shufflenetv2-20_fpn_1x_coco',
    'baselines/faster-rcnn_shufflenetv2-20_fpn_1x_voc0712',
    'baselines/faster-rcnn_shufflenetv2-40-1.3g_fpn_1x_coco',
    'baselines/faster-rcnn_shufflenetv2-40-3.8g_fpn_1x_coco',
    'baselines/retinanet_shufflenetv2-20_fpn_1x_coco',
    'baselines/retinanet_shufflenetv2-20_fpn_1x_voc0712',
    'detnas/faster-rcnn_detnasnet-3.8g_fpn_1x_coco',
)
ITERATIONS = 2
SIDE = 64
VOC_COUNTS = {
    ('2007', 'trainval'): 6,
    ('2012', 'trainval'): 8,
    ('2007', 'test'): 2,
}
_number = count()


def write_data(folder: Path) -> None:
    """Writes the stand-ins and splits them with the real tools."""
    coco, voc, imagenet = (
        folder / 'data' / name for name in ('coco', 'VOCdevkit', 'imagenet')
    )
    classes = CocoDataset.METAINFO['classes']
    write_coco(coco, classes, dict(train2017=8, val2017=2))
    write_voc(voc, VOCDataset.METAINFO['classes'], VOC_COUNTS)
    write_imagenet(imagenet, classes=1000, train=2, val=1)
    split('coco', coco, '--search-images', 2)
    split('voc', voc, '--search-images', 4)
    split('imagenet', imagenet, '--images-per-class', 1)


def split(data: str, *args: object) -> None:
    """Runs a converter in this process."""
    tool = f'tools/dataset_converters/{data}_search_split.py'
    with patch.object(sys, 'argv', [tool, *map(str, args)]):
        runpy.run_path(str(ROOT / tool), run_name='__main__')


def shrink(config: Config, name: str) -> Config:
    """Makes a config small enough for a test; no file name changes."""
    for part in ('train', 'val', 'test'):
        loader = config[f'{part}_dataloader']
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.pop('pin_memory', None)
        for dataset in loader.dataset.get('datasets', [loader.dataset]):
            for step in dataset.pipeline:
                if step.type == 'Resize':
                    step.scale = (SIDE, SIDE)
                elif step.type in ('RandomResizedCrop', 'ResizeEdge'):
                    step.scale = SIDE
                elif step.type == 'CenterCrop':
                    step.crop_size = SIDE
            if dataset.type == 'ImageNet':
                dataset.indices = 8
    for hook in config.get('custom_hooks', ()):
        if 'num_images' in hook:
            hook.num_images = 2
    if config.val_cfg.get('type') == 'detnas_mm.EvolutionSearchLoop':
        config.val_cfg.update(
            generations=1,
            algorithm=dict(type='Evolution', population=2, parents=1),
        )
    config.train_cfg.update(max_iters=ITERATIONS, val_interval=ITERATIONS)
    # The learning rate for this batch size, as --auto-scale-lr sets it.
    config.auto_scale_lr.enable = True
    # No test reads these large files.
    config.default_hooks.checkpoint.update(
        save_optimizer=False, save_last='supernet' in name
    )
    _shrink_detector(config.model)
    config.work_dir = f'work_dirs/{name.split("/")[1]}'
    config.experiment_name = f'stand_in{next(_number)}'
    config.launcher = 'none'
    if config.model.type == 'ImageClassifier':
        # BN needs more than two values.
        config.train_dataloader.batch_size = 4
    return config


def _shrink_detector(model: ConfigDict) -> None:
    # With a threshold, a barely trained detector predicts nothing.
    if model.type == 'FasterRCNN':
        model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=20)
        model.train_cfg.rcnn.sampler.num = 8
        model.roi_head.bbox_head.fc_out_channels = 64
        model.test_cfg.rpn.update(nms_pre=50, max_per_img=8)
        model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=8)
    if model.type == 'RetinaNet':
        model.test_cfg.update(score_thr=0.0, nms_pre=50, max_per_img=8)


@functools.cache
def run(name: str) -> list[dict] | dict[str, list[float]]:
    """Trains or searches with a config, once it has what it starts from.

    Returns:
        The candidates of a search; the losses and metrics of a training.
    """
    config = deepcopy(read_config(name))
    iterations = config.train_cfg.max_iters
    prepare(config)
    config = shrink(config, name)
    if 'search' in name:
        config.load_from = checkpoint(name.replace('search', 'supernet'))
        Runner.from_cfg(config).val()
        return read_candidates(config.work_dir)
    runner = Runner.from_cfg(config)
    runner.train()
    made = Path(config.work_dir) / f'iter_{ITERATIONS}.pth'
    if made.exists():
        made.rename(made.with_name(f'iter_{iterations}.pth'))
    scalars = runner.message_hub.log_scalars.items()
    return {
        key: list(scalar.data[0])
        for key, scalar in scalars
        if 'loss' in key or key.startswith('val/')
    }


def prepare(config: Config) -> None:
    """Makes missing files that a config starts from."""
    backbone = config.model.backbone
    result = Path(str(backbone.get('path', '')))
    if result.suffix == '.json' and not result.exists():
        run(find_config(result.parent.name))
    file = Path((backbone.get('init_cfg') or {}).get('checkpoint', ''))
    if file.name.startswith('resnet'):
        # torchvision's keys and arbitrary numbers.
        with torch.device('meta'):
            net = getattr(torchvision.models, file.name.partition('-')[0])()
        weights = {
            key: torch.full(value.shape, 0.01)
            for key, value in net.state_dict().items()
        }
        file.parent.mkdir(exist_ok=True)
        torch.save(weights, file)
    elif file.suffix:
        assert checkpoint(find_config(file.parent.name)) == str(file)


def checkpoint(name: str) -> str:
    """Returns the checkpoint of a training.

    If no test has run the training, its initial weights are written instead.
    """
    config = read_config(name)
    last = f'iter_{config.train_cfg.max_iters}.pth'
    file = Path('work_dirs') / name.split('/')[1] / last
    if not file.exists():
        prepare(config)
        write_weights(config, file)
    return str(file)


def write_weights(config: Config, file: Path) -> None:
    """Writes freshly drawn initial weights of a config's model."""
    init_default_scope(config.default_scope)
    model = deepcopy(config.model)
    if model.type == 'ImageClassifier':
        model.data_preprocessor = deepcopy(config.data_preprocessor)
    model.backbone.init_cfg = None
    _shrink_detector(model)
    built = MODELS.build(model)
    built.init_weights()
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=built.state_dict()), file)
