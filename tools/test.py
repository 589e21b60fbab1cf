"""Test a trained detector or classifier on the test split."""

import argparse
from pathlib import Path

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from detnas_mm.compat import init_distributed, setup_compat
from detnas_mm.engine.checks import require_inputs
from detnas_mm.models import load_state_dict, require_trained_network
from detnas_mm.utils.cli import (
    add_common_arguments,
    load_config,
    refuse_search_config,
    run_command,
)
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import require_writable


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config of the test')
    parser.add_argument('checkpoint', help='checkpoint of the model')
    parser.add_argument(
        '--out', type=Path, help='pickle file (.pkl) for the predictions'
    )
    add_common_arguments(parser)
    return parser.parse_args()


def require_pickle(file: Path) -> None:
    """Check the file for the predictions before they are computed."""
    if file.suffix not in ('.pkl', '.pickle'):
        raise InputError(f"--out must be a .pkl or .pickle file, got '{file}'")


def add_prediction_dump(runner: Runner, file: Path) -> None:
    from mmengine.evaluator import DumpResults

    runner.test_evaluator.metrics.append(DumpResults(str(file)))


def main() -> None:
    args = parse_args()
    if args.out is not None:
        require_pickle(args.out)
    setup_compat()
    config = load_config(args)
    refuse_search_config(config)
    weights = load_state_dict(args.checkpoint)
    config.load_from = args.checkpoint
    init_distributed(args.launcher, config)
    # Checked before MMEngine prints the whole config.
    model = require_inputs(config, ('test',))
    require_trained_network(model, weights, args.checkpoint)
    require_writable(config.work_dir)
    if args.out is not None:
        require_writable(args.out.parent, '--out')
    if 'runner_type' in config:
        runner = RUNNERS.build(config)
    else:
        runner = Runner.from_cfg(config)
    if args.out is not None:
        add_prediction_dump(runner, args.out)
    runner.test()


if __name__ == '__main__':
    run_command(main)
