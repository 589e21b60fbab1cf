"""Times a candidate of a search, part by part.

Against the bare forward passes of the network on the same images. Both are
taken from the same evaluation, so that the load of the machine meets them
alike.
"""

import argparse
import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from measuring import (
    Spread,
    add_measuring_options,
    conditions,
    report,
)
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from parts import PartTimer
from random_images import add_random_options, use_random_images
from torch import nn

from detnas_mm.compat import setup_compat
from detnas_mm.datasets.batch_cache import CachedLoader
from detnas_mm.engine.runner.candidate_validation import CandidateValidation
from detnas_mm.models import build_model
from detnas_mm.structures import SearchRecord
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command


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
        help='factor on the last weights of the classification, which are '
        'random then, so that some boxes are above the threshold of scores',
    )
    parser.add_argument(
        '--chunk', type=int, default=1, help='candidates that share batches'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the paths')
    add_measuring_options(parser, rounds=5)
    add_common_arguments(parser)
    return parser.parse_args()


def save_random_weights(config: Config, file: str, spread: float) -> None:
    """Writes a checkpoint of a detector that has not been trained."""
    config.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = build_model(config)
    model.init_weights()
    for name, parameter in model.named_parameters():
        if name.endswith('_cls.weight'):
            parameter.data *= spread
    torch.save(dict(state_dict=model.state_dict()), file)


def build_runner(args: argparse.Namespace, folder: Path) -> Runner:
    """Builds a search of random paths, as many as are measured."""
    config = load_config(args)
    config.launcher = 'none'
    config.load_from = args.checkpoint
    if args.random:
        use_random_images(config, folder, args.random, args.shape)
        config.load_from = str(folder / 'supernet.pth')
        save_random_weights(config, config.load_from, args.spread)
    config.work_dir = str(folder / 'search')
    config.log_level = 'WARNING'
    config.val_cfg.update(
        algorithm='random',
        generations=1,
        population=(1 + args.rounds) * args.chunk,
        race=False,
        chunk=args.chunk,
        seed=args.seed,
    )
    return Runner.from_cfg(config)


def network_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Backbone, neck and the layers of the heads, without the losses."""
    modules = {'backbone': model.backbone}
    if getattr(model, 'neck', None) is not None:
        modules['neck'] = model.neck
    for name, module in model.named_modules():
        if name.endswith(('_head', 'roi_extractor')):
            modules[name] = module
    return modules


@contextlib.contextmanager
def timed_parts(
    validation: CandidateValidation, timer: PartTimer
) -> Iterator[None]:
    """Times what an evaluation consists of."""
    model = validation.model
    functions = [
        (model.data_preprocessor, 'forward', 'normalising'),
        (model, 'val_step', 'boxes from outputs, NMS'),
        # Of the class: paths that share batches have evaluators of their own.
        (Evaluator, 'process', 'metric'),
        (Evaluator, 'evaluate', 'metric'),
        (validation, '_recalibrate', 'BN statistics'),
        (SearchRecord, 'append', 'record'),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, part in functions:
            stack.enter_context(timer.of_function(owner, name, part))
        for name, module in network_modules(model).items():
            # mmdet calls some of them past the hooks of modules.
            part = f'network: {name}'
            stack.enter_context(timer.of_function(module, 'forward', part))
        stack.enter_context(
            timer.of_iterator(CachedLoader, '__iter__', 'images')
        )
        stack.enter_context(timer.marks_after(SearchRecord, 'append'))
        yield


def rows_of(rounds: list[dict[str, float]]) -> list[dict]:
    """A row for each part, for the network and for the whole."""
    names = list(dict.fromkeys(itertools.chain(*rounds)))
    totals = [sum(one.values()) for one in rounds]
    networks = [
        sum(ms for name, ms in one.items() if name.startswith('network'))
        for one in rounds
    ]

    def row(part: str, values: list[float]) -> dict:
        shares = [v / total for v, total in zip(values, totals, strict=True)]
        return {
            'part': part,
            'ms': Spread.of(values),
            'share, %': Spread.of([100 * share for share in shares]),
        }

    parts = [row(n, [one.get(n, 0.0) for one in rounds]) for n in names]
    parts.sort(key=lambda one: -one['ms'].median)
    ratios = [
        total / bare for total, bare in zip(totals, networks, strict=True)
    ]
    return [
        *parts,
        row('network alone', networks),
        row('whole candidate', totals),
        {
            'part': 'whole / network',
            'ms': Spread.of(ratios),
            'share, %': '',
        },
    ]


def measured_parts(
    runner: Runner, args: argparse.Namespace
) -> list[dict[str, float]]:
    """Runs a search; returns the ms of each part, for each candidate."""
    timer = PartTimer(args)
    with timed_parts(runner.val_loop.validation, timer):
        timer.whole(runner.val)
    record = SearchRecord.read(runner.val_loop.record_path)
    for one in record.candidates:
        if one.error is not None:
            raise RuntimeError(f'path {one.path} has failed: {one.error}')
    # Paths that share batches are recorded one after another.
    marks = timer.marks[args.chunk - 1 :: args.chunk]
    return [
        {
            part: (ms - before.get(part, 0.0)) / args.chunk
            for part, ms in after.items()
        }
        # The first one reads the images, and is not counted.
        for before, after in itertools.pairwise(marks)
    ]


def main() -> None:
    args = parse_args()
    if (args.checkpoint is None) == (args.random is None):
        raise ValueError(
            'give either a checkpoint, to score the data of the config, or '
            '--random IMAGES'
        )
    setup_compat()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(args, Path(folder))
        # MMEngine takes the GPU if there is one.
        args.device = str(next(runner.model.parameters()).device)
        rounds = measured_parts(runner, args)
    validation = runner.val_loop.validation
    report(
        f'One candidate of {type(validation.model).__name__}',
        rows_of(rounds),
        args,
        config=args.config,
        chunk=args.chunk,
        images_for_bn=validation.recalibration.num_images,
        images_for_score=len(validation.val_loop.dataloader.dataset),
        **conditions(args),
    )


if __name__ == '__main__':
    run_command(main)
