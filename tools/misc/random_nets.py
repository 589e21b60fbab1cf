"""Draw random nets under a constraint and write their configs (Figure 3).

Each net gets a config for its pre-training on ImageNet, and one for each
chosen detector and data set, which starts from the pre-trained weights.
"""

import argparse
import os
from pathlib import Path

from detnas_mm.cost import Bounds, Constraint
from detnas_mm.search import RandomSearch
from detnas_mm.structures import get_search_space
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import write_atomically

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'detnas'
SPACES = ('small', 'large')
PRE_TRAINING = """\
_base_ = '{base}/detnas-{space}_8xb128_in1k.py'

model = dict(backbone=dict(search_space='{space}', path='{path}'))
"""
DETECTOR = """\
_base_ = '{base}/{detector}_detnas-{space}_fpn_1x_{data}.py'

pretrained = 'work_dirs/{name}_8xb128_in1k/iter_300000.pth'
model = dict(
    backbone=dict(
        search_space='{space}',
        path='{path}',
        init_cfg=dict(checkpoint=pretrained)))
"""


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', type=Path, help='folder of the configs')
    parser.add_argument('--num', type=int, default=20, help='number of nets')
    parser.add_argument('--space', choices=SPACES, default='small')
    parser.add_argument(
        '--max-macs',
        type=float,
        default=300e6,
        help='upper bound on the multiply-adds of a backbone at 224 x 224',
    )
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--detectors',
        nargs='+',
        choices=['faster-rcnn', 'retinanet'],
        default=['faster-rcnn'],
    )
    parser.add_argument(
        '--data', nargs='+', choices=['coco', 'voc0712'], default=['coco']
    )
    return parser.parse_args()


def write_configs(
    args: argparse.Namespace, name: str, path: str, base: str
) -> None:
    """Write the configs of one net."""
    settings = dict(base=base, space=args.space, name=name, path=path)
    write_atomically(
        args.out / f'{name}_8xb128_in1k.py', PRE_TRAINING.format(**settings)
    )
    for detector in args.detectors:
        for data in args.data:
            write_atomically(
                args.out / f'{detector}_{name}_fpn_1x_{data}.py',
                DETECTOR.format(**settings, detector=detector, data=data),
            )


def main() -> None:
    args = parse_args()
    space = get_search_space(args.space)
    constraint = Constraint(space, Bounds(max_macs=args.max_macs))
    if args.num < 1:
        raise InputError(f'--num must be at least 1, got {args.num}')
    constraint.require_legal_paths(args.num)
    paths = RandomSearch(
        space,
        population=args.num,
        is_legal=constraint.is_legal,
        seed=args.seed,
    ).ask()
    args.out.mkdir(parents=True, exist_ok=True)
    base = Path(os.path.relpath(CONFIGS, args.out.resolve())).as_posix()
    for number, path in enumerate(paths):
        name = f'random-{args.space}-{number:02d}'
        write_configs(args, name, space.format(path), base)
        print(
            f'{name}  {space.format(path)}  '
            f'{constraint.macs(path) / 1e6:.1f}M MACs'
        )


if __name__ == '__main__':
    run_command(main)
