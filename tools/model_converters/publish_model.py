"""Strip a checkpoint, name it by its hash and print its metafile entry."""

import argparse
from pathlib import Path

import yaml

from detnas_mm.engine.publishing import publish
from detnas_mm.models import read_checkpoint, resolve_architecture
from detnas_mm.models.complexity import exact_cost_table
from detnas_mm.structures import get_search_space, space_name
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command

INPUT_SIZE = (224, 224)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint to publish')
    parser.add_argument('name', help='name of the model')
    parser.add_argument(
        '--out-dir', type=Path, default=Path(), help='folder to write to'
    )
    parser.add_argument(
        '--path',
        help='digits, published name or best.json, if the checkpoint does '
        'not contain its path',
    )
    parser.add_argument('--search-space', help='search space of the digits')
    parser.add_argument(
        '--shuffle', help='channel shuffle; default: as in the checkpoint'
    )
    parser.add_argument(
        '--config', help='config whose model the weights must fit'
    )
    add_common_arguments(parser)
    return parser.parse_args()


def read_backbone(args: argparse.Namespace) -> dict | None:
    """Return the config of the backbone in a checkpoint, if it is known.

    It is read from the options or from the meta of the checkpoint.
    """
    meta = read_checkpoint(args.checkpoint).get('meta', {})
    shuffle = args.shuffle or meta.get('shuffle')
    if args.path is not None:
        known = resolve_architecture(args.path, args.search_space)
        return dict(
            type='detnas_mm.DetNASNet',
            search_space=known.search_space,
            path=known.path,
            shuffle=shuffle or known.shuffle,
        )
    if 'search_space' not in meta:
        return None
    space = get_search_space(meta['search_space'])
    backbone = dict(search_space=space, shuffle=shuffle or 'grouped')
    if meta.get('path') is None:
        return dict(type='detnas_mm.DetNASSupernet', **backbone)
    path = space.parse(meta['path'])
    return dict(type='detnas_mm.DetNASNet', path=path, **backbone)


def metafile_entry(
    name: str, weights: str, backbone: dict, config: str | None
) -> dict:
    """Return the entry of a model in the ``Models`` of a metafile."""
    space = backbone['search_space']
    metadata = {
        'Search Space': space_name(space) or space.to_dict(),
        'Shuffle': backbone['shuffle'],
    }
    if 'path' in backbone:
        table = exact_cost_table(space, INPUT_SIZE)
        metadata |= {
            'Path': space.format_stages(backbone['path']),
            'Backbone FLOPs': table.macs(backbone['path']),
            'Backbone Parameters': table.params(backbone['path']),
        }
    entry = {'Name': name, 'In Collection': 'DetNAS'}
    if config is not None:
        entry['Config'] = config
    return entry | {'Metadata': metadata, 'Weights': weights}


def main() -> None:
    args = parse_args()
    config = load_config(args) if args.config else None
    backbone = read_backbone(args)
    file = publish(
        args.checkpoint,
        args.out_dir,
        args.name,
        backbone=backbone,
        config=config,
    )
    print(f'# {file}')
    if backbone is None:
        print(
            '# no metafile entry: the checkpoint does not contain its search '
            'space and path; give --path'
        )
        return
    entry = metafile_entry(args.name, file.name, backbone, args.config)
    print(yaml.safe_dump([entry], sort_keys=False, width=79), end='')


if __name__ == '__main__':
    run_command(main)
