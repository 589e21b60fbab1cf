"""Measure the files of a folder of blocks, in the runtime that is deployed.

This file needs Python and the runtime alone. measure_latency.py export writes
the folder; measure_latency.py table reads the times.
"""

import argparse
import importlib
import json
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

MANIFEST = 'manifest.json'
PRECISIONS = ('fp32', 'fp16', 'bf16')
Run = Callable[[], float]  # runs a network once, returns its ms


class LatencyError(Exception):
    """What ends the command with one line."""


def add_runtime_options(
    parser: argparse.ArgumentParser, precisions: Sequence[str] = PRECISIONS
) -> None:
    parser.add_argument(
        '--threads', type=int, default=1, help='threads of a CPU (default: 1)'
    )
    parser.add_argument(
        '--rounds',
        type=int,
        default=30,
        help='rounds over all files; the minimum counts (default: 30)',
    )
    parser.add_argument(
        '--clock',
        choices=['wall', 'cpu'],
        default='wall',
        help='`cpu` counts the CPU time of this process, for one thread on a '
        'machine that other work shares (default: wall)',
    )
    parser.add_argument(
        '--provider',
        default='CPUExecutionProvider',
        help='execution provider of ONNX Runtime',
    )
    parser.add_argument(
        '--precision',
        choices=precisions,
        default='fp32',
        help='precision of OpenVINO, which chooses by itself otherwise, or '
        'what the command computes in (default: fp32)',
    )
    parser.add_argument(
        '--ov-device', default='CPU', help='device of OpenVINO'
    )
    parser.add_argument(
        '--command',
        help="what --runtime command runs, with {file}, such as 'trtexec "
        "--onnx={file}'",
    )
    parser.add_argument(
        '--pattern',
        default=r'([\d.]+(?:e-?\d+)?)\s*ms',
        help='regular expression whose first group is the number of ms in '
        'the output of the command; the last match counts',
    )
    parser.add_argument(
        '--name', help='name of the runtime, in place of the command'
    )
    parser.add_argument(
        '--without-rest',
        action='store_true',
        help='leave out neck and heads, for a runtime that lacks NMS',
    )
    parser.add_argument('--device-name', help='name of the device')


def timed(run: Callable[[], object], args: argparse.Namespace) -> float:
    """Run once to warm the caches, then return the least ms of some runs."""
    clock = time.perf_counter_ns
    if args.clock == 'cpu':
        clock = time.process_time_ns
    run()
    times: list[int] = []
    # At least 2 runs, and more of a short one.
    while len(times) < 2 or (sum(times) < 2e6 and len(times) < 20):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times) / 1e6


def prepare_onnxruntime(file: Path, args: argparse.Namespace) -> Run:
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if args.provider not in onnxruntime.get_available_providers():
        raise LatencyError(
            f'onnxruntime has no {args.provider}, it has '
            f'{", ".join(onnxruntime.get_available_providers())}'
        )
    session = onnxruntime.InferenceSession(
        str(file), options, providers=[args.provider]
    )
    feeds = {
        item.name: np.random.default_rng(0).random(item.shape, np.float32)
        for item in session.get_inputs()
    }
    return lambda: timed(lambda: session.run(None, feeds), args)


def prepare_openvino(file: Path, args: argparse.Namespace) -> Run:
    import numpy as np
    import openvino

    settings = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': args.precision.replace('fp', 'f'),
    }
    if args.ov_device == 'CPU':
        settings['INFERENCE_NUM_THREADS'] = args.threads
        settings['NUM_STREAMS'] = 1
    model = openvino.Core().compile_model(str(file), args.ov_device, settings)
    request = model.create_infer_request()
    for port in model.inputs:
        values = np.random.default_rng(0).random(tuple(port.shape), np.float32)
        request.set_tensor(port, openvino.Tensor(values))
    return lambda: timed(request.infer, args)


def prepare_command(file: Path, args: argparse.Namespace) -> Run:
    pattern = re.compile(args.pattern)
    if pattern.groups < 1:
        raise LatencyError(
            '--pattern needs a group around the number, such as '
            f"'([0-9.]+) ms', got {args.pattern!r}"
        )

    def run() -> float:
        # A file name in place of {file}; other braces stay.
        command = args.command.replace('{file}', str(file))
        result = subprocess.run(
            command,
            shell=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        numbers = [m[1] for m in pattern.finditer(result.stdout)]
        if result.returncode or not numbers:
            last = (result.stdout.strip().splitlines() or ['no output'])[-1]
            raise LatencyError(
                f'`{command}` ended with code {result.returncode}, and '
                f'{len(numbers)} matches of --pattern; its last line: {last}'
            )
        return float(numbers[-1])

    return run


PREPARE = {
    'onnxruntime': prepare_onnxruntime,
    'openvino': prepare_openvino,
    'command': prepare_command,
}


def prepare_files(
    files: Sequence[Path], runtime: str, args: argparse.Namespace
) -> dict[str, Run]:
    runs = {}
    for file in files:
        try:
            runs[file.name] = PREPARE[runtime](file, args)
        except LatencyError:
            raise
        except Exception as error:
            line = ' '.join(str(error).split())[:300]
            raise LatencyError(
                f'{runtime} cannot run {file}: {line}'
            ) from error
    return runs


def measure(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Return the ms of each run in each round.

    The runs take turns, in another order in each round, so that the load of
    the machine affects all of them.
    """
    if rounds < 2:
        raise LatencyError(f'--rounds must be at least 2, got {rounds}')
    rng = random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for index in range(rounds):
        order = list(runs)
        rng.shuffle(order)
        for name in order:
            times[name].append(runs[name]())
        if sys.stderr.isatty():
            line = f'\rround {index + 1} of {rounds}'
            print(line, end='', file=sys.stderr, flush=True)
    return times


def device_name() -> str:
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith(('model name', 'Model')):
                return line.partition(':')[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def conditions(runtime: str, args: argparse.Namespace) -> dict:
    """Return what the times are for."""
    if runtime == 'command':
        return dict(
            runtime=args.name or args.command,
            software=args.command,
            precision=args.precision,
            threads=args.threads,
            device=args.device_name or device_name(),
        )
    version = importlib.import_module(runtime).__version__
    is_openvino = runtime == 'openvino'
    provider = args.ov_device if is_openvino else args.provider
    return dict(
        runtime=runtime,
        # A table keeps this text.
        software=f'{runtime} {version}, {provider}, Python '
        f'{platform.python_version()}',
        provider=provider,
        precision=args.precision if is_openvino else 'fp32',
        threads=args.threads,
        device=args.device_name or device_name(),
    )


def read_manifest(folder: Path) -> dict:
    path = folder / MANIFEST
    if not path.is_file():
        raise LatencyError(
            f'{folder} has no {MANIFEST}; write it by measure_latency.py '
            'export CONFIG FOLDER'
        )
    try:
        manifest = json.loads(path.read_text())
        manifest['files'], manifest['rest'], manifest['digest']
    except (ValueError, TypeError, KeyError) as error:
        raise LatencyError(
            f'{path} is not the manifest of a folder of blocks: '
            f'{type(error).__name__} {error}'
        ) from error
    return manifest


def measure_folder(
    folder: Path, runtime: str, args: argparse.Namespace
) -> dict:
    """Measure all files that the manifest of a folder names."""
    manifest = read_manifest(folder)
    if runtime == 'command' and '{file}' not in (args.command or ''):
        raise LatencyError(
            '--runtime command needs --command with {file}, got '
            f'{args.command!r}'
        )
    if args.clock == 'cpu' and (runtime == 'command' or args.threads > 1):
        raise LatencyError('--clock cpu is not for commands or many threads')
    if runtime == 'onnxruntime' and args.precision != 'fp32':
        raise LatencyError(
            f'--precision {args.precision} is not for onnxruntime, which '
            'computes in the precision of the files'
        )
    left_out = [manifest['rest']] if args.without_rest else []
    files = [folder / n for n in manifest['files'] if n not in left_out]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise LatencyError(f'{folder} lacks {", ".join(missing)}')
    if runtime != 'command':
        try:
            importlib.import_module(runtime)
        except ImportError as error:
            raise LatencyError(
                f'{runtime} is not installed: pip install {runtime}'
            ) from error
    times = measure(prepare_files(files, runtime, args), args.rounds)
    content = dict(
        folder=manifest['digest'],
        rounds=args.rounds,
        without_rest=args.without_rest,
        clock=args.clock,
        times=times,
    )
    return conditions(runtime, args) | content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of blocks')
    parser.add_argument('out', type=Path, help='JSON file of times to write')
    parser.add_argument('--runtime', choices=PREPARE, default='onnxruntime')
    add_runtime_options(parser)
    args = parser.parse_args()
    try:
        if not args.out.parent.is_dir():
            raise LatencyError(f'no folder {args.out.parent} to write to')
        times = measure_folder(args.folder, args.runtime, args)
    except LatencyError as problem:
        print(f'error: {problem}', file=sys.stderr)
        sys.exit(2)
    part = args.out.with_name(f'.{args.out.name}.part')
    part.write_text(json.dumps(times) + '\n')
    os.replace(part, args.out)
    print(f'written to {args.out}')


if __name__ == '__main__':
    main()
