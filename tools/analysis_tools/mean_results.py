"""Print mean and standard deviation of the test results of several nets."""

import argparse
import statistics
from pathlib import Path

from net_results import read_test_metric

from detnas_mm.utils.cli import run_command
from detnas_mm.utils.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('metric', help='such as coco/bbox_mAP')
    parser.add_argument(
        'test_dirs',
        nargs='+',
        type=Path,
        help='work dirs of their tools/test.py, at least two',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if len(args.test_dirs) < 2:
        raise InputError(
            'a standard deviation needs at least 2 nets, got '
            f'{len(args.test_dirs)}'
        )
    results = [
        read_test_metric(folder, args.metric) for folder in args.test_dirs
    ]
    for test_dir, result in zip(args.test_dirs, results, strict=True):
        print(f'{result:.4f}  {test_dir.name}')
    print(
        f'{args.metric} of {len(results)} nets: '
        f'{statistics.mean(results):.4f} ± {statistics.stdev(results):.4f} '
        '(standard deviation of a sample)'
    )


if __name__ == '__main__':
    run_command(main)
