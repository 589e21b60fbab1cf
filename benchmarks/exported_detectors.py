"""mAP of exported detectors in ONNX Runtime, beside that of mmdet.

Trains each kind of detector that can be exported on the digits, with heads of
mmdet and a backbone out of a supernet, exports it, and tests both. What is
finished is not repeated.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import onnxruntime
import torch
from measuring import add_json_option, report
from mmengine.config import Config
from mmengine.hub import get_config
from searches import CONFIGS, DATA, ROOT, data_options, run_tool

from detnas_mm.models import extract_path, last_checkpoint, load_state_dict
from detnas_mm.structures import get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.files import write_atomically

CONFIG = CONFIGS / 'retinanet_detnas-elastic-tiny_fpn_digits.py'
CLASSES, WIDTH = 10, 64
HEAD = dict(num_classes=CLASSES, in_channels=WIDTH, feat_channels=WIDTH)
# The config of mmdet, and what makes it narrow, for digits of 20 to 48 pixels.
DETECTORS: Mapping[str, tuple[str, Mapping]] = {
    'RetinaNet': (
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        dict(bbox_head=dict(HEAD, anchor_generator=dict(octave_base_scale=2))),
    ),
    'FCOS': (
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        dict(bbox_head=HEAD),
    ),
    'ATSS': (
        'atss/atss_r50_fpn_1x_coco.py',
        dict(bbox_head=dict(HEAD, anchor_generator=dict(octave_base_scale=4))),
    ),
    'Faster R-CNN': (
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        dict(
            rpn_head=dict(
                in_channels=WIDTH,
                feat_channels=WIDTH,
                anchor_generator=dict(scales=[4]),
            ),
            roi_head=dict(
                bbox_roi_extractor=dict(out_channels=WIDTH),
                bbox_head=dict(
                    num_classes=CLASSES, in_channels=WIDTH, fc_out_channels=256
                ),
            ),
        ),
    ),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='supernet of `elastic_tiny`')
    parser.add_argument('--path', default='1002321110000', help='its digits')
    parser.add_argument(
        '--detectors', nargs='+', choices=[*DETECTORS], default=[*DETECTORS]
    )
    parser.add_argument('--data', type=Path, default=DATA)
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'work_dirs/exported_detectors'
    )
    add_json_option(parser)
    return parser.parse_args()


def write_config(
    name: str, args: argparse.Namespace, weights: Path, file: Path
) -> None:
    """Write the config of a training on the digits with mmdet's detector."""
    base, narrow = DETECTORS[name]
    config = Config.fromfile(CONFIG)
    digits = config.model
    model = get_config(f'mmdet::{base}').model
    model.data_preprocessor = digits.data_preprocessor
    model.backbone = dict(
        digits.backbone,
        path=args.path,
        init_cfg=dict(
            type='Pretrained', checkpoint=str(weights), prefix='backbone.'
        ),
    )
    model.neck.update(in_channels=digits.neck.in_channels, out_channels=WIDTH)
    whole = Config(dict(model=model))
    whole.merge_from_dict(dict(model=narrow))
    config.model = whole.model
    config.optim_wrapper.optimizer.lr = 2e-3
    config.dump(file)


def measure(
    name: str, args: argparse.Namespace, weights: Path
) -> dict[str, float]:
    """Train, export and test one detector; return mAP by runtime."""
    folder = args.out / re.sub('[^a-z]', '', name.lower())
    finished = folder / 'maps.json'
    if finished.exists():
        return json.loads(finished.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / 'config.py'
    write_config(name, args, weights, file)
    options = ['--cfg-options', *data_options(args.data)]
    run_tool('train.py', file, '--work-dir', folder, '--resume', *options)
    checkpoint = last_checkpoint(folder)
    images = args.data / 'train'
    maps = {'mmdet': test('test.py', file, checkpoint, folder, options)}
    for runtime, precision in (('fp32', ()), ('int8', ('--int8', images))):
        exported = folder / f'{runtime}.onnx'
        run_tool(
            'deploy/export_detector.py', file, checkpoint, exported,
            *precision, *options,
        )  # fmt: skip
        maps[f'ONNX Runtime, {runtime}'] = test(
            'deploy/test_detector.py', file, exported, folder, options
        )
    write_atomically(finished, json.dumps(maps) + '\n')
    return maps


def test(
    tool: str, config: Path, file: Path, folder: Path, options: list[str]
) -> float:
    """Return the mAP that a tool prints for the test split."""
    command = [sys.executable, ROOT / 'tools' / tool, config, file]
    command += ['--work-dir', folder / 'test', *options]
    done = subprocess.run(
        [*map(str, command)], check=True, capture_output=True, text=True
    )
    return float(re.findall(r'bbox_mAP: ([\d.]+)', done.stdout)[-1])


def main() -> None:
    args = parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    backbone = Config.fromfile(CONFIG).model.backbone
    path = get_search_space(backbone.search_space).parse(args.path)
    weights = args.out / 'backbone.pth'
    torch.save(extract_path(load_state_dict(args.checkpoint), path), weights)
    rows = [
        dict(detector=name) | measure(name, args, weights)
        for name in args.detectors
    ]
    report(
        'mAP of the test split', rows, args,
        path=args.path, torch=torch.__version__,
        onnxruntime=onnxruntime.__version__,
    )  # fmt: skip


if __name__ == '__main__':
    run_command(main)
