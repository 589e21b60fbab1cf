"""Compare a training step of a supernet with a step of one of its subnets.

The detector comes from the config, with images of noise and random boxes;
both backbones use the same path. Supernets with more choices for each block
are measured too: the cost of a step must not depend on choices that the path
does not use. Times vary with the load of the machine, so the work of a step is
counted as well.
"""

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from measuring import (
    Spread,
    add_measuring_options,
    conditions,
    measure,
    measure_in_turns,
    report,
)
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.structures import InstanceData
from work_count import count_work

from detnas_mm.engine.network_arguments import add_shape_option
from detnas_mm.models import build_model
from detnas_mm.structures import SearchSpace, get_search_space
from detnas_mm.utils.cli import add_common_arguments, load_config, run_command

BOXES = 6


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help="config of a supernet's detector")
    add_shape_option(parser, (160, 160))
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument(
        '--search-space', help='instead of the one in the config'
    )
    parser.add_argument(
        '--choices', type=int, nargs='+', default=[4, 8, 16],
        help='choices for each block',
    )  # fmt: skip
    parser.add_argument(
        '--amp',
        choices=['float16', 'bfloat16'],
        help='automatic mixed precision; a CPU supports bfloat16 only',
    )
    parser.add_argument('--channels-last', action='store_true')
    add_measuring_options(parser, rounds=20)
    add_common_arguments(parser)
    return parser.parse_args()


def random_batch(args: argparse.Namespace, num_classes: int) -> dict:
    """Return images of noise with boxes, as from a data loader."""
    rng = torch.Generator().manual_seed(0)
    size = height, width = tuple(args.shape)
    images, samples = [], []
    for _ in range(args.batch_size):
        images.append(
            torch.randint(256, (3, *size), generator=rng, dtype=torch.uint8)
        )
        meta = dict(img_shape=size, ori_shape=size, scale_factor=(1, 1))
        corner = torch.rand(BOXES, 2, generator=rng) * 0.6
        extent = 0.1 + torch.rand(BOXES, 2, generator=rng) * 0.3
        boxes = torch.cat((corner, corner + extent), dim=1)
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=boxes * torch.tensor([width, height] * 2),
            labels=torch.randint(num_classes, (BOXES,), generator=rng),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long()
        )
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def spaces(space: SearchSpace, choices: list[int]) -> dict[str, SearchSpace]:
    """Return search spaces with other numbers of choices."""
    repeated = space.choices * max(choices)
    return {
        f'supernet, {count} choices': replace(space, choices=repeated[:count])
        for count in choices
    }


def build_case(
    config: Config, backbone: dict, args: argparse.Namespace
) -> tuple[BaseModel, OptimWrapper]:
    torch.manual_seed(0)
    model = revert_sync_batchnorm(build_model(config, backbone))
    if backbone['type'].endswith('Supernet'):
        model.backbone.set_path(path_of(model.backbone.search_space))
    layout = torch.contiguous_format
    if args.channels_last:
        layout = torch.channels_last
    model = model.to(device=args.device, memory_format=layout).train()
    settings = ConfigDict(config.optim_wrapper)
    if args.amp:
        settings.update(type='AmpOptimWrapper', dtype=args.amp)
    settings.setdefault('type', 'OptimWrapper')
    return model, build_optim_wrapper(model, settings)


def path_of(space: SearchSpace) -> tuple[int, ...]:
    """Return a path with each of the paper's choices."""
    return tuple(index % 4 for index in range(space.num_blocks))


@contextlib.contextmanager
def timed_update(
    wrapper: OptimWrapper, args: argparse.Namespace, times: list[float]
) -> Iterator[None]:
    """Append the ms of clipping, step and zero_grad to ``times``."""
    originals = wrapper.step, wrapper.zero_grad
    wrapper.step, wrapper.zero_grad = (
        lambda f=f, **kwargs: times.append(measure(lambda: f(**kwargs), args))
        for f in originals
    )
    try:
        yield
    finally:
        del wrapper.step, wrapper.zero_grad


def megabytes(model: BaseModel, wrapper: OptimWrapper) -> float:
    """Return the size of weights, gradients and optimizer state in MB."""
    state = [
        value
        for values in wrapper.optimizer.state.values()
        for value in values.values()
        if torch.is_tensor(value)
    ]
    params = list(model.parameters())
    grads = [p.grad for p in params if p.grad is not None]
    return sum(t.nbytes for t in (*params, *grads, *state)) / 1e6


def peak_megabytes(case: 'Case') -> float | None:
    """Return the peak GPU memory of a step, without the other models."""
    if not case.args.device.startswith('cuda'):
        return None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    case.step()
    more = torch.cuda.max_memory_allocated() - before
    return more / 1e6 + megabytes(case.model, case.wrapper)


def build_backbones(
    config: Config, args: argparse.Namespace
) -> dict[str, dict]:
    """Return configs of the subnet and of supernets."""
    own = config.model.backbone
    space = get_search_space(args.search_space or own.search_space)
    subnet = dict(
        type='detnas_mm.DetNASNet', search_space=space, path=path_of(space)
    )
    supernets = {
        name: dict(type='detnas_mm.DetNASSupernet', search_space=wider)
        for name, wider in spaces(space, args.choices).items()
    }
    return {'subnet': subnet, **supernets}


@dataclass
class Case:
    """A detector in training, with the ms of its updates."""

    model: BaseModel
    wrapper: OptimWrapper
    batch: dict
    args: argparse.Namespace
    updates: list[float] = field(default_factory=list)

    def step(self) -> None:
        self.model.train_step(self.batch, self.wrapper)

    def step_with_timed_update(self) -> None:
        times: list[float] = []
        with timed_update(self.wrapper, self.args, times):
            self.step()
        self.updates.append(sum(times))


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    config = load_config(args)
    batch = random_batch(args, num_classes=10)
    cases = {
        name: Case(*build_case(config, backbone, args), batch, args)
        for name, backbone in build_backbones(config, args).items()
    }
    steps = {name: case.step for name, case in cases.items()}
    # Timed separately, since it synchronizes a GPU around each part.
    timed = {
        f'{name}, its update': case.step_with_timed_update
        for name, case in cases.items()
    }
    times = measure_in_turns(steps | timed, args)
    rows = []
    for name, case in cases.items():
        pairs = zip(times[name], times['subnet'], strict=True)
        work = count_work(case.step)
        row = {
            'backbone': name,
            'step, ms': Spread.of(times[name]),
            "as part of the subnet's": Spread.of(
                [mine / subnet for mine, subnet in pairs]
            ),
            'clip, step and zero_grad, ms': Spread.of(
                case.updates[-args.rounds :]
            ),
            'weights, gradients and state, MB': megabytes(
                case.model, case.wrapper
            ),
            'tensor operators': work.operators,
            'values they receive, M': work.values,
            'Python calls': work.python_calls,
            'peak, MB': peak_megabytes(case),
        }
        rows.append(row)
    report(
        f'Training step of {config.model.type}',
        rows,
        args,
        config=args.config,
        shape=args.shape,
        batch_size=args.batch_size,
        amp=args.amp,
        channels_last=args.channels_last,
        **conditions(args),
    )


if __name__ == '__main__':
    run_command(main)
