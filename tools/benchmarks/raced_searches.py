"""Runs searches with and without a race over several seeds, and compares them.

Each search is `tools/search.py` with the same budget; one that is complete
is not run again. Arguments that are not known here go to `tools/search.py`,
such as `--cfg-options val_cfg.generations=8`.
"""

import argparse

from evolution_against_random import add_search_options, run_search
from measuring import add_json_option, report
from race import compare, row_of

from detnas_mm.utils.cli import run_command


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_search_options(parser, out='work_dirs/raced_searches')
    parser.add_argument('--images', type=int, required=True,
                        help='images of the search split')  # fmt: skip
    parser.add_argument('--bn-images', type=int, required=True,
                        help='images for BN statistics')  # fmt: skip
    add_json_option(parser)
    return parser.parse_known_args()


def main() -> None:
    args, rest = parse_args()
    race = [*rest, '--cfg-options', 'val_cfg.race=True']
    rows, results = [], []
    for seed in args.seeds:
        plain = run_search(args, 'plain', seed, rest)
        raced = run_search(args, 'race', seed, race)
        share = args.bn_images / args.images
        results.append(compare(plain, raced, args.images, share))
        rows.append({'seed': seed, **results[-1]})
    report('Searches with and without a race', rows, args, config=args.config)
    report('All seeds', [row_of(results)], args, config=args.config)


if __name__ == '__main__':
    run_command(main)
