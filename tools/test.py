"""Tests a trained detector or classifier on the test split."""

import argparse

from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import nn

from detnas_mm.command_line import (
    add_common_arguments,
    load_config,
    refuse_search_config,
    run_command,
)
from detnas_mm.compat import init_distributed, setup_compat
from detnas_mm.engine.input_checks import require_inputs
from detnas_mm.models import (
    DetNASSupernet,
    load_state_dict,
    require_matching_keys,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the test')
    parser.add_argument('checkpoint', help='checkpoint of the model')
    parser.add_argument('--out', help='pickle file (.pkl) for the predictions')
    add_common_arguments(parser)
    return parser.parse_args()


def add_prediction_dump(runner: Runner, file: str) -> None:
    if not file.endswith(('.pkl', '.pickle')):
        raise ValueError(f'--out must be a .pkl or .pickle file, got {file!r}')
    from mmengine.evaluator import DumpResults

    runner.test_evaluator.metrics.append(DumpResults(out_file_path=file))


def require_fitting(model: nn.Module, weights: dict, checkpoint: str) -> None:
    """MMEngine would load what fits, and test a half-random model."""
    require_matching_keys(model, weights, checkpoint)
    if any(isinstance(part, DetNASSupernet) for part in model.modules()):
        raise ValueError(
            'the config is that of a supernet, which has no score of its own: '
            'score its paths by tools/search.py ... --paths, or take one out '
            'by tools/model_converters/supernet_to_subnet.py'
        )


def main() -> None:
    args = parse_args()
    setup_compat()
    config = load_config(args)
    refuse_search_config(config)
    weights = load_state_dict(args.checkpoint)
    config.load_from = args.checkpoint
    init_distributed(args.launcher, config)
    # Before MMEngine prints the whole config.
    model = require_inputs(config, ('test',))
    require_fitting(model, weights, args.checkpoint)
    if 'runner_type' in config:
        runner = RUNNERS.build(config)
    else:
        runner = Runner.from_cfg(config)
    if args.out is not None:
        add_prediction_dump(runner, args.out)
    runner.test()


if __name__ == '__main__':
    run_command(main)
