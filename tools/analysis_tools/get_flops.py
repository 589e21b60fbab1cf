"""Count the MACs and parameters of a config's model, part by part.

Without a config the table lists the published backbones of the paper, or the
backbone of --path. One MAC is one multiply-add of a convolution or linear
layer.
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from detnas_mm.engine.network_arguments import (
    add_path_options,
    add_shape_option,
    chosen_backbone,
    image_size,
)
from detnas_mm.models import (
    PUBLISHED_PATHS,
    Architecture,
    build_model,
    count_parts,
    resolve_architecture,
)
from detnas_mm.models.complexity import exact_cost_table
from detnas_mm.structures import Cost, space_name
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command

IMAGENET_SIZE = (224, 224)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', help='config of a model')
    add_shape_option(parser)
    add_path_options(parser)
    add_common_arguments(parser)
    return parser.parse_args()


def print_model(args: argparse.Namespace) -> None:
    config = load_config(args)
    with torch.device('meta'):
        model = build_model(config, chosen_backbone(args, config))
        size = image_size(args, config)
        parts = count_parts(model, size)
        backbone = count_parts(model, IMAGENET_SIZE)['backbone']
    table = new_table(f'{type(model).__name__}, one image', 'part', 'input')
    add_row(table, 'backbone', IMAGENET_SIZE, backbone)
    table.add_section()
    for name, cost in parts.items():
        add_row(table, name, size, cost)
    table.add_section()
    add_row(table, 'all', size, sum(parts.values(), Cost(0, 0)))
    Console().print(table)


def print_backbones(architectures: dict[str, Architecture]) -> None:
    table = new_table('Backbones at 224x224', '', 'space')
    table.add_column('with head', justify='right', no_wrap=True)
    for name, known in architectures.items():
        space = space_name(known.search_space) or 'own'
        cost = backbone_cost(known, IMAGENET_SIZE)
        head = known.search_space.stage_channels[-1] * 1024 * 7 * 7
        head = f'{cost.macs + head + 1024 * 1000:,}'
        table.add_row(name, space, f'{cost.macs:,}', f'{cost.params:,}', head)
    Console().print(table)
    print(
        'with head: MACs with the 1x1 convolution to 1024 channels and the '
        'classifier of ImageNet'
    )


def published_backbones() -> dict[str, Architecture]:
    """Return the paper's nets and two extremes of its small space."""
    known = {name: resolve_architecture(name) for name in PUBLISHED_PATHS}
    for name, digit in (('all 3x3', '0'), ('all Xception', '3')):
        known[name] = resolve_architecture(digit * 20, 'small')
    return known


def backbone_cost(known: Architecture, size: tuple[int, int]) -> Cost:
    table = exact_cost_table(known.search_space, size)
    return Cost(table.macs(known.path), table.params(known.path))


def new_table(title: str, *columns: str) -> Table:
    """Return a table that wraps names, but never cuts numbers."""
    table = Table(title=title, padding=(0, 0, 0, 1))
    for column in columns:
        table.add_column(column, overflow='fold')
    for column in ('MACs', 'params'):
        table.add_column(column, justify='right', no_wrap=True)
    return table


def add_row(
    table: Table, name: str, size: tuple[int, int], cost: Cost
) -> None:
    shape = 'x'.join(map(str, size))
    table.add_row(name, shape, f'{cost.macs:,}', f'{cost.params:,}')


def main() -> None:
    args = parse_args()
    if args.config:
        print_model(args)
    elif args.path:
        known = resolve_architecture(args.path, args.search_space)
        print_backbones({args.path: known})
    else:
        print_backbones(published_backbones())


if __name__ == '__main__':
    run_command(main)
