"""Strips a checkpoint and names it by its hash; writes its metafile entry."""

import argparse
from pathlib import Path

from detnas_mm.command_line import run_command
from detnas_mm.engine.publishing import (
    MetafileEntry,
    publish,
    write_metafile_entry,
)
from detnas_mm.models import read_checkpoint, resolve_architecture
from detnas_mm.structures import get_search_space


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint to publish')
    parser.add_argument('name', help='name of the model')
    parser.add_argument(
        '--out-dir', type=Path, default=Path(), help='folder to write to'
    )
    parser.add_argument(
        '--metafile', type=Path, help='metafile.yml to add the model to'
    )
    parser.add_argument(
        '--path',
        help='digits, published name or best.json, where the checkpoint does '
        'not say its path',
    )
    parser.add_argument('--search-space', help='search space of the digits')
    parser.add_argument(
        '--shuffle', help='channel shuffle; by default that of the checkpoint'
    )
    parser.add_argument('--config', help='path of the config, for the entry')
    parser.add_argument('--task', default='Object Detection')
    parser.add_argument('--dataset', default='COCO')
    parser.add_argument(
        '--metrics',
        nargs='+',
        default=[],
        metavar='NAME=VALUE',
        help='results, such as "box AP=36.6"',
    )
    return parser.parse_args()


def parse_metrics(texts: list[str]) -> dict[str, float]:
    metrics = {}
    for text in texts:
        name, _, value = text.partition('=')
        try:
            metrics[name] = float(value)
        except ValueError:
            raise ValueError(
                f'--metrics takes NAME=NUMBER, such as "box AP=36.6", got '
                f'{text!r}'
            ) from None
    return metrics


def describe(args: argparse.Namespace) -> dict:
    """Says which network a checkpoint holds, from its meta or the options."""
    meta = read_checkpoint(args.checkpoint).get('meta', {})
    shuffle = args.shuffle or meta.get('shuffle')
    if args.path is not None:
        known = resolve_architecture(args.path, args.search_space)
        return dict(
            search_space=known.search_space,
            path=known.path,
            shuffle=shuffle or known.shuffle,
        )
    if 'search_space' not in meta:
        raise ValueError(
            f'{args.checkpoint} does not say its search space and path; give '
            '--path with --search-space, a published name or a best.json'
        )
    space = get_search_space(meta['search_space'])
    path = meta.get('path')
    return dict(
        search_space=space,
        path=None if path is None else space.parse(path),
        shuffle=shuffle or 'grouped',
    )


def main() -> None:
    args = parse_args()
    metrics = parse_metrics(args.metrics)
    network = describe(args) if args.metafile else None
    file = publish(args.checkpoint, args.out_dir, args.name)
    print(file)
    if args.metafile:
        entry = MetafileEntry(
            name=args.name,
            weights=file.name,
            config=args.config,
            task=args.task,
            dataset=args.dataset,
            metrics=metrics,
            **network,
        )
        write_metafile_entry(args.metafile, entry)
        print(f'{args.metafile}: {args.name}')


if __name__ == '__main__':
    run_command(main)
