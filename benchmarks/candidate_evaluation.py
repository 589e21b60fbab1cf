"""Time the evaluation of one candidate, part by part.

The parts are compared with the bare forward passes of the network on the same
images. Both come from the same evaluation, so the load of the machine affects
them equally.
"""

import argparse
import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from measuring import Spread, add_measuring_options, conditions, report
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from parts import PartTimer
from random_images import (
    add_random_options,
    recalibration_hook,
    use_random_images,
)
from torch import nn

from detnas_mm.compat import setup_compat
from detnas_mm.datasets.batch_cache import CachedLoader
from detnas_mm.engine import BNRecalibrationHook
from detnas_mm.models import build_model
from detnas_mm.structures import SearchRecord
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command
from detnas_mm.utils.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of a search')
    parser.add_argument(
        'checkpoint', nargs='?', help='checkpoint of its supernet'
    )
    add_random_options(parser, shape=(800, 1333))
    parser.add_argument(
        '--spread',
        type=float,
        default=1.0,
        help='with --random: factor on the random weights of the '
        'classification layer, so that some scores exceed the threshold',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the paths')
    add_measuring_options(parser, rounds=5)
    add_common_arguments(parser)
    return parser.parse_args()


def save_random_weights(config: Config, file: str, spread: float) -> None:
    """Write the checkpoint of an untrained detector."""
    config.model.backbone.init_cfg = None
    torch.manual_seed(0)
    # It lists the initialization of each parameter otherwise.
    MMLogger.get_current_instance().setLevel('WARNING')
    model = build_model(config)
    model.init_weights()
    for name, parameter in model.named_parameters():
        if name.endswith('_cls.weight'):
            parameter.data *= spread
    torch.save(dict(state_dict=model.state_dict()), file)


def build_runner(
    config: Config, args: argparse.Namespace, folder: Path
) -> Runner:
    """Build a search of one generation, whose paths are random."""
    config.launcher = 'none'
    config.load_from = args.checkpoint
    if args.random:
        use_random_images(config, folder, args.random, args.shape)
        config.load_from = str(folder / 'supernet.pth')
        save_random_weights(config, config.load_from, args.spread)
    config.work_dir = str(folder / 'search')
    config.log_level = 'WARNING'
    # MMEngine keeps visualizers by name, and this folder is temporary.
    config.visualizer.update(name='candidate', vis_backends=[])
    config.val_cfg.update(
        algorithm=dict(
            type='Evolution', population=1 + args.rounds, parents=1
        ),
        generations=1,
        seed=args.seed,
    )
    return Runner.from_cfg(config)


def network_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return backbone, neck and the layers of the heads, without losses."""
    modules = {'backbone': model.backbone}
    if getattr(model, 'neck', None) is not None:
        modules['neck'] = model.neck
    for name, module in model.named_modules():
        if name.endswith(('_head', 'roi_extractor')):
            modules[name] = module
    return modules


@contextlib.contextmanager
def timed_parts(model: nn.Module, timer: PartTimer) -> Iterator[None]:
    """Time the parts of an evaluation."""
    functions = [
        (model.data_preprocessor, 'forward', 'normalizing'),
        (model, 'val_step', 'boxes from outputs, NMS'),
        (Evaluator, 'process', 'metric'),
        (Evaluator, 'evaluate', 'metric'),
        (BNRecalibrationHook, 'before_val', 'BN statistics'),
        (SearchRecord, 'append', 'record'),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, part in functions:
            stack.enter_context(timer.of_function(owner, name, part))
        for name, module in network_modules(model).items():
            # mmdet calls some modules without their hooks.
            part = f'network: {name}'
            stack.enter_context(timer.of_function(module, 'forward', part))
        stack.enter_context(
            timer.of_iterator(CachedLoader, '__iter__', 'images')
        )
        stack.enter_context(timer.marks_after(SearchRecord, 'append'))
        yield


def rows_of(rounds: list[dict[str, float]]) -> list[dict]:
    """Return a row for each part, for the network and for the whole."""
    names = list(dict.fromkeys(itertools.chain(*rounds)))
    totals = [sum(parts.values()) for parts in rounds]
    networks = [
        sum(ms for name, ms in parts.items() if name.startswith('network'))
        for parts in rounds
    ]

    def row(part: str, values: list[float]) -> dict:
        shares = [v / total for v, total in zip(values, totals, strict=True)]
        return {
            'part': part,
            'ms': Spread.of(values),
            'share, %': Spread.of([100 * share for share in shares]),
        }

    rows = [row(n, [parts.get(n, 0.0) for parts in rounds]) for n in names]
    rows.sort(key=lambda cells: -cells['ms'].median)
    ratios = [
        total / bare for total, bare in zip(totals, networks, strict=True)
    ]
    return [
        *rows,
        row('network alone', networks),
        row('whole candidate', totals),
        {'part': 'whole / network', 'ms': Spread.of(ratios), 'share, %': ''},
    ]


def measured_parts(
    runner: Runner, args: argparse.Namespace
) -> list[dict[str, float]]:
    """Run a search and return the ms of each part of each candidate."""
    timer = PartTimer(args)
    with timed_parts(runner.model, timer):
        timer.whole(runner.val)
    record = SearchRecord.read(runner.work_dir)
    for candidate in record.candidates:
        if candidate.error is not None:
            raise RuntimeError(
                f'path {candidate.path} failed: {candidate.error}'
            )
    return [
        {part: ms - before.get(part, 0.0) for part, ms in after.items()}
        # The first candidate also reads the images from disk: skip it.
        for before, after in itertools.pairwise(timer.marks)
    ]


def main() -> None:
    args = parse_args()
    if (args.checkpoint is None) == (args.random is None):
        raise InputError(
            'give either a checkpoint, to use the data of the config, or '
            '--random IMAGES'
        )
    setup_compat()
    torch.set_num_threads(args.threads)
    config = load_config(args)
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(config, args, Path(folder))
        # MMEngine uses a GPU if there is one.
        args.device = str(next(runner.model.parameters()).device)
        rounds = measured_parts(runner, args)
    report(
        f'One candidate of {config.model.type}',
        rows_of(rounds),
        args,
        config=args.config,
        images_for_bn=recalibration_hook(config).get('num_images'),
        images_for_score=len(runner.val_loop.dataloader.dataset),
        **conditions(args),
    )


if __name__ == '__main__':
    run_command(main)
