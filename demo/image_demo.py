"""Draw the boxes that a detector with a searched backbone finds."""

import argparse
import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import mmcv
from mmdet.apis import DetInferencer
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from detnas_mm.engine.network_arguments import add_device_option
from detnas_mm.models import (
    build_model,
    load_state_dict,
    require_detector,
    require_trained_network,
)
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_writable

# Smaller images are enlarged to this height or width, in pixels.
LEAST_SIZE = 512


class Inferencer(DetInferencer):
    """mmdet's inferencer, which also draws on small images.

    It avoids a warning about the collate function and the registry.
    """

    def _init_collate(self, cfg: Config) -> Callable:
        return pseudo_collate

    def visualize(
        self,
        inputs: Sequence[str],
        preds: Sequence[DetDataSample],
        *,
        img_out_dir: str,
        pred_score_thr: float,
        **unused: object,
    ) -> None:
        """Draw boxes on image files and enlarge small images.

        Labels have a fixed size and would hide small objects.
        """
        for file, found in zip(inputs, preds, strict=True):
            image = mmcv.imread(file, channel_order='rgb')
            scale = max(1, LEAST_SIZE // max(image.shape[:2]))
            drawn = copy.deepcopy(found)
            if 'masks' not in found.pred_instances:
                image = mmcv.imrescale(image, scale)
                drawn.pred_instances.bboxes *= scale
            name = Path(file).name
            self.visualizer.add_datasample(
                name,
                image,
                drawn,
                draw_gt=False,
                pred_score_thr=pred_score_thr,
                out_file=str(Path(img_out_dir, 'vis', name)),
            )


def load(config_file: Path, checkpoint: Path, device: str) -> Inferencer:
    config = Config.fromfile(config_file)
    model = build_model(config)
    require_detector(model)
    weights = load_state_dict(checkpoint)
    require_trained_network(model, weights, str(checkpoint))
    # The inferencer writes the image itself.
    config.visualizer.vis_backends = []
    return Inferencer(
        config, str(checkpoint), device=device, show_progress=False
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('image', type=Path, help='image file')
    parser.add_argument('config', type=Path, help='config of the detector')
    parser.add_argument('checkpoint', type=Path, help='its checkpoint')
    parser.add_argument(
        '--out-dir',
        type=Path,
        default='work_dirs/demo',
        help='the image with boxes goes to OUT_DIR/vis, the boxes as JSON to '
        'OUT_DIR/preds (default: work_dirs/demo)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.5,
        help='minimum score of a drawn box (default: 0.5)',
    )
    add_device_option(parser)
    return parser.parse_args()


def require_image(file: Path) -> None:
    # OpenCV returns None for most other files and fails on an empty one.
    if not file.stat().st_size or mmcv.imread(file) is None:
        raise InputError(f'{file} cannot be read as an image')


def main() -> None:
    args = parse_args()
    # Boxes that end at the edge of the image are valid.
    warnings.filterwarnings('ignore', '.* out of bounds', module='mmengine')
    for file in (args.image, args.config, args.checkpoint):
        if not file.is_file():
            raise InputError(f'no file {file}')
    require_image(args.image)
    require_writable(args.out_dir, '--out-dir')
    inferencer = load(args.config, args.checkpoint, args.device)
    (found,) = inferencer(
        str(args.image),
        out_dir=str(args.out_dir),
        no_save_pred=False,
        pred_score_thr=args.score_thr,
    )['predictions']
    names = inferencer.visualizer.dataset_meta['classes']
    for label, score, box in zip(
        found['labels'], found['scores'], found['bboxes'], strict=True
    ):
        if score >= args.score_thr:
            corners = ', '.join(f'{x:.0f}' for x in box)
            print(f'{names[label]}: score {score:.2f}, box {corners} px')
    print(f'{args.out_dir / "vis" / args.image.name}')


if __name__ == '__main__':
    run_command(main)
