"""Test an exported detector on the test split, as tools/test.py does."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from rich.progress import track

from detnas_mm.compat import setup_compat
from detnas_mm.engine.data_checks import require_data
from detnas_mm.models.export import open_session
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the detector')
    parser.add_argument(
        'file', type=Path, help='ONNX file of export_detector.py'
    )
    add_common_arguments(parser)
    return parser.parse_args()


def evaluate(config: Config, file: Path) -> dict[str, float]:
    """Return the metrics of the boxes that ONNX Runtime gives."""
    session = open_session(file)
    entries = session.get_modelmeta().custom_metadata_map
    if 'input_size' not in entries:
        raise InputError(f'{file} was not written by export_detector.py')
    empty = np.empty((*json.loads(entries['input_size']), 3), np.uint8)
    empty[:] = json.loads(entries['pad_value'])
    loader = Runner.build_dataloader(config.test_dataloader)
    evaluator = Evaluator(config.test_evaluator)
    evaluator.dataset_meta = loader.dataset.metainfo
    for batch in track(loader, 'testing'):
        for inputs, sample in zip(*batch.values(), strict=True):
            image = inputs.permute(1, 2, 0).numpy()
            height, width, _ = image.shape
            if height > empty.shape[0] or width > empty.shape[1]:
                raise InputError(
                    f'a test image of {height} x {width} exceeds the input '
                    'of {} x {}: export with a larger --shape'.format(
                        *empty.shape
                    )
                )
            whole = empty.copy()
            is_rgb = entries['channel_order'] == 'RGB'
            whole[:height, :width] = image[:, :, :: -1 if is_rgb else 1]
            outputs = session.run(None, dict(image=whole))
            boxes, scores, labels = map(torch.from_numpy, outputs)
            # Boxes may reach into the padding.
            boxes = boxes.clip(min=0).minimum(
                torch.tensor((width, height) * 2)
            ) / torch.tensor(sample.scale_factor * 2)
            sample.pred_instances = InstanceData(
                bboxes=boxes, scores=scores, labels=labels
            )
            evaluator.process([sample])
    return evaluator.evaluate(len(loader.dataset))


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    if not args.file.is_file():
        raise InputError(f'no file {args.file}')
    require_data(config, ['test'])
    init_default_scope(config.get('default_scope', 'mmdet'))
    for key, value in evaluate(config, args.file).items():
        print(f'{key}: {value:.4f}')


if __name__ == '__main__':
    run_command(main)
