"""Measure images per second of a detector, and the latency of its blocks.

The defaults follow the paper's supplement: images of 800 x 1200, one at a
time, pre- and post-processing included. Weights matter little; --checkpoint
gives the real number of boxes.
"""

import argparse
import statistics

import torch
from mmdet.structures import DetDataSample
from mmengine.model import BaseModel, revert_sync_batchnorm
from rich.console import Console
from rich.table import Table
from torch import nn

from detnas_mm.engine.network_arguments import (
    add_device_option,
    add_path_options,
    add_shape_option,
    chosen_backbone,
)
from detnas_mm.models import (
    DetNASNet,
    build_model,
    load_state_dict,
    require_detector,
    require_matching_keys,
)
from detnas_mm.models.latency import device_name, measure_parts
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command

PAPER_SIZE = (800, 1200)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a detector')
    parser.add_argument('--checkpoint', help='its weights')
    add_shape_option(parser, PAPER_SIZE)
    add_path_options(parser)
    parser.add_argument('--batch-size', type=int, default=1)
    add_device_option(parser)
    parser.add_argument('--threads', type=int, help='threads of a CPU')
    parser.add_argument(
        '--amp', action='store_true', help='automatic mixed precision'
    )
    parser.add_argument('--rounds', type=int, default=50)
    parser.add_argument('--warm-up', type=int, default=5)
    add_common_arguments(parser)
    return parser.parse_args()


def build_detector(args: argparse.Namespace) -> BaseModel:
    config = load_config(args)
    model = build_model(config, chosen_backbone(args, config))
    require_detector(model)
    model = revert_sync_batchnorm(model)
    if args.checkpoint:
        state_dict = load_state_dict(args.checkpoint)
        require_matching_keys(model, state_dict, args.checkpoint)
        model.load_state_dict(state_dict)
    return model.to(args.device).eval()


def random_batch(size: tuple[int, int], batch_size: int) -> dict:
    """Return images of noise, as from a data loader."""
    rng = torch.Generator().manual_seed(0)
    shape = (3, *size)
    images = [
        torch.randint(256, shape, generator=rng, dtype=torch.uint8)
        for _ in range(batch_size)
    ]
    meta = dict(
        img_shape=size, ori_shape=size, pad_shape=size, scale_factor=(1, 1)
    )
    samples = [DetDataSample(metainfo=meta) for _ in images]
    return dict(inputs=images, data_samples=samples)


def list_parts(model: BaseModel) -> dict[str, nn.Module]:
    """List the measured modules in the order of execution."""
    backbone = model.backbone
    if not isinstance(backbone, DetNASNet):
        parts = {'backbone': backbone}
    else:
        space = backbone.search_space
        parts = {'stem': backbone.stem}
        for index, choice in enumerate(backbone.path):
            choice_name = space.choice_names[choice]
            name = f'block {space.block_name(index)}, {choice_name}'
            parts[name] = backbone.blocks[index]
    if getattr(model, 'neck', None) is not None:
        parts['neck'] = model.neck
    return parts


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    model = build_detector(args)
    size = tuple(args.shape)
    batch = random_batch(size, args.batch_size)

    def run() -> None:
        with torch.autocast(device.type, enabled=args.amp):
            model.test_step(batch)

    wholes, parts = measure_parts(
        run,
        list_parts(model),
        device,
        rounds=args.rounds,
        warm_up=args.warm_up,
    )
    table = Table(title=f'{type(model).__name__}, {device_name(device)}')
    table.add_column('part')
    table.add_column('ms', justify='right')
    for name, milliseconds in parts.items():
        table.add_row(name, f'{milliseconds:.2f}')
    Console().print(table)
    median = statistics.median(wholes)
    print(
        f'{1000 * args.batch_size / median:.2f} images per second: median of '
        f'{args.rounds} runs {median:.1f} ms ({min(wholes):.1f} to '
        f'{max(wholes):.1f}), {size[0]} x {size[1]}, batch {args.batch_size}'
        + (f', threads: {torch.get_num_threads()}' * (device.type == 'cpu'))
    )


if __name__ == '__main__':
    run_command(main)
