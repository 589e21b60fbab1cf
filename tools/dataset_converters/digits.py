"""Build the embedded digits data set (see detnas_mm.datasets.digits.build)."""

import argparse
import time

from detnas_mm.datasets.digits.build import build_digits
from detnas_mm.datasets.digits.settings import DigitsSettings, setting_help
from detnas_mm.utils.cli import run_command


def parse_args() -> argparse.Namespace:
    """Read the command line; each setting is an option."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--out', default='data/digits', help='folder of the data set'
    )
    for name, (default, meaning) in setting_help().items():
        parser.add_argument(
            '--' + name.replace('_', '-'),
            type=int,
            default=default,
            help=f'{meaning} (default: {default})',
        )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace the data set that is in the folder',
    )
    return parser.parse_args()


def main() -> None:
    """Build, and print what is in the data set."""
    args = vars(parse_args())
    out, overwrite = args.pop('out'), args.pop('overwrite')
    start = time.perf_counter()
    report = build_digits(out, DigitsSettings(**args), overwrite)
    seconds = time.perf_counter() - start
    done = f'built in {seconds:.0f} s' if report.built else 'already complete'
    print(f'{out}: {done}')
    for what, by_split in report.counts.items():
        print(
            f'  {what}: ' + ', '.join(f'{n} {s}' for s, n in by_split.items())
        )
    print('  verified: the splits share no digit and no image')


if __name__ == '__main__':
    run_command(main)
