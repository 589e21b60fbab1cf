"""Strips a checkpoint and names it by its hash; writes its metafile entry."""

import argparse
from pathlib import Path

from detnas_mm.engine.metafile import MetafileEntry, write_metafile_entry
from detnas_mm.engine.publishing import publish
from detnas_mm.models import read_checkpoint, resolve_architecture
from detnas_mm.structures import get_search_space
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command


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
    parser.add_argument(
        '--config', help='config whose model the weights must fit'
    )
    parser.add_argument(
        '--collection',
        help='collection of the metafile that the model belongs to; by '
        'default that of the old entry, the only one, or DetNAS',
    )
    parser.add_argument(
        '--task',
        help='task of the metrics; by default that of the old entry, or '
        'Object Detection',
    )
    parser.add_argument(
        '--dataset',
        help='data set of the metrics; by default that of the old entry, or '
        'COCO',
    )
    parser.add_argument(
        '--metrics',
        nargs='+',
        default=[],
        metavar='NAME=VALUE',
        help='measured results, such as "box AP=36.6"',
    )
    add_common_arguments(parser)
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


def describe(args: argparse.Namespace) -> dict | None:
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
        return None
    space = get_search_space(meta['search_space'])
    path = meta.get('path')
    return dict(
        search_space=space,
        path=None if path is None else space.parse(path),
        shuffle=shuffle or 'grouped',
    )


def backbone_config(network: dict) -> dict:
    if network['path'] is None:
        settings = {key: network[key] for key in ('search_space', 'shuffle')}
        return dict(type='detnas_mm.DetNASSupernet', **settings)
    return dict(type='detnas_mm.DetNASNet', **network)


def main() -> None:
    args = parse_args()
    metrics = parse_metrics(args.metrics)
    config = load_config(args) if args.config else None
    network = describe(args)
    if args.metafile and network is None:
        raise ValueError(
            f'{args.checkpoint} does not say its search space and path; give '
            '--path with --search-space, a published name or a best.json'
        )
    file = publish(
        args.checkpoint,
        args.out_dir,
        args.name,
        backbone=backbone_config(network) if network else None,
        config=config,
    )
    print(file)
    if args.metafile:
        entry = MetafileEntry(
            name=args.name,
            weights=file.name,
            collection=args.collection,
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
