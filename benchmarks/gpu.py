"""Measure training, search and deployment on one GPU, in a few minutes.

Images are noise and weights are random. Parts that do not fit in the time are
left out, and listed. --toy runs all of it on a CPU, at a size that shows only
that it works.
"""

import argparse
import copy
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from candidate_evaluation import save_random_weights
from measuring import conditions
from mmengine.config import Config
from mmengine.runner import Runner
from random_images import recalibration_hook, use_random_images
from training_step import build_case, path_of, random_batch

from detnas_mm.compat import setup_compat
from detnas_mm.models import find_supernet
from detnas_mm.models.latency import DeviceTimer
from detnas_mm.utils.cli import run_command
from detnas_mm.utils.files import require_writable, write_atomically

ROOT = Path(__file__).parents[1]
# With the spread of the random scores that gives as many boxes as training.
DETECTORS = {'retinanet': 90, 'faster-rcnn': 3}
# Automatic mixed precision, channels last, compiled blocks.
MODES = {
    'fp32': (None, False, False),
    'fp32, channels_last': (None, True, False),
    'fp16': ('float16', False, False),
    'bf16': ('bfloat16', False, False),
    'bf16, channels_last': ('bfloat16', True, False),
    'bf16, channels_last, compiled blocks': ('bfloat16', True, True),
}
# MMEngine has no mixed precision on a CPU.
ON_CPU = ('fp32', 'fp32, channels_last')
# The engine is built in the first round.
TRTEXEC = (
    'test -f {file}.plan || trtexec --onnx={file} --fp16 --skipInference '
    '--saveEngine={file}.plan; trtexec --loadEngine={file}.plan --duration=1'
)
TRT_PATTERN = r'GPU Compute Time: min = ([\d.]+) ms'


@dataclass(frozen=True)
class Sizes:
    """Sizes of all measurements."""

    shape: tuple[int, int] = (800, 1333)
    batch_size: int = 8
    steps: int = 6
    images: int = 100
    candidates: int = 2
    regions: int | None = None  # of Faster R-CNN, if not as in the config


TOY = Sizes(
    (64, 64), batch_size=2, steps=1, images=16, candidates=1, regions=8
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default='work_dirs/gpu')
    parser.add_argument('--minutes', type=float, default=8)
    parser.add_argument(
        '--toy', action='store_true', help='toy size, on a CPU'
    )
    return parser.parse_args()


def config_of(detector: str, stage: str, sizes: Sizes) -> Config:
    name = f'{detector}_detnas-{stage}-small_fpn_1x_coco.py'
    config = Config.fromfile(ROOT / 'configs/detnas' / name)
    config.merge_from_dict(size_options(detector, config, sizes))
    return config


def size_options(detector: str, config: Config, sizes: Sizes) -> dict:
    """Return the settings of the config for the sizes."""
    options = {}
    for split in ('train', 'val'):
        pipeline = config[f'{split}_dataloader'].dataset.pipeline
        for index, step in enumerate(pipeline):
            if 'scale' in step:
                key = f'{split}_dataloader.dataset.pipeline.{index}.scale'
                options[key] = tuple(sizes.shape[::-1])
    if detector == 'faster-rcnn' and sizes.regions is not None:
        for key in (
            'model.train_cfg.rpn_proposal.max_per_img',
            'model.train_cfg.rcnn.sampler.num',
            'model.test_cfg.rpn.max_per_img',
        ):
            options[key] = sizes.regions
    return options


def training(
    detector: str, mode: str, sizes: Sizes, device: str
) -> dict[str, object]:
    """Return images per second and memory of training a supernet."""
    amp, channels_last, compiles = MODES[mode]
    config = config_of(detector, 'supernet', sizes)
    backbone = config.model.backbone
    backbone.init_cfg = None
    args = argparse.Namespace(
        shape=sizes.shape,
        batch_size=sizes.batch_size,
        device=device,
        amp=amp,
        channels_last=channels_last,
    )
    model, wrapper = build_case(config, dict(backbone), args)
    if compiles:
        for block in model.backbone.active_blocks():
            block.compile()
    batch = random_batch(args, num_classes=10)
    is_gpu = device != 'cpu'
    for _ in range(min(2, sizes.steps)):
        model.train_step(batch, wrapper)
    if is_gpu:
        torch.cuda.reset_peak_memory_stats()
    timer = DeviceTimer(torch.device(device))
    timer.mark()
    for _ in range(sizes.steps):
        model.train_step(batch, wrapper)
        timer.mark()
    least = min(timer.intervals())
    peak = torch.cuda.max_memory_allocated() / 1e9 if is_gpu else None
    return {
        'detector': detector,
        'mode': mode,
        'images/s': 1e3 * sizes.batch_size / least,
        'ms per step': least,
        'peak memory, GB': peak,
    }


def candidate(
    detector: str, sizes: Sizes, device: str, seconds: float
) -> list[dict]:
    """Return the parts of a candidate's evaluation, in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'parts.json')
        options = ['val_dataloader.num_workers=0']
        options.append('val_dataloader.persistent_workers=False')
        if device != 'cpu':
            options += ['val_cfg.fp16=True', 'val_dataloader.batch_size=8']
        config = config_of(detector, 'search', sizes)
        for key, value in size_options(detector, config, sizes).items():
            options.append(f'{key}={value}'.replace(' ', ''))
        command = [
            *(sys.executable, ROOT / 'benchmarks/candidate_evaluation.py'),
            config.filename,
            *('--random', sizes.images, '--shape', *sizes.shape),
            *('--spread', DETECTORS[detector], '--json', file),
            *('--rounds', sizes.candidates, '--cfg-options', *options),
        ]
        subprocess.run(
            list(map(str, command)), check=True, timeout=seconds, cwd=ROOT
        )
        rows = json.loads(file.read_text())['rows']
    return [
        {
            'detector': detector,
            'part': row['part'],
            'value': row['ms']['median'],
            'share, %': row['share, %'] and row['share, %']['median'],
        }
        for row in rows
    ]


def full_evaluation(detector: str, sizes: Sizes, device: str) -> dict:
    """Time a candidate as a copy of the detector in mmdet's own loops.

    As MMRazor does: the model is copied, BN statistics come from training
    steps' forward passes with losses, images are read from files each time,
    and mmdet's metric scores.
    """
    config = config_of(detector, 'search', sizes)
    with tempfile.TemporaryDirectory() as folder:
        use_random_images(config, Path(folder), sizes.images, sizes.shape)
        number = recalibration_hook(config).num_images
        config.load_from = str(Path(folder, 'supernet.pth'))
        save_random_weights(config, config.load_from, DETECTORS[detector])
        config.update(
            launcher='none',
            work_dir=str(Path(folder, 'work')),
            log_level='WARNING',
            custom_hooks=[],
            experiment_name=f'full_{detector}',
        )
        # An update would merge it with the settings of the search.
        config.pop('val_cfg')
        config.val_cfg = dict(type='ValLoop', fp16=device != 'cpu')
        config.visualizer.update(name=f'full_{detector}', vis_backends=[])
        for loader in (config.train_dataloader, config.val_dataloader):
            loader.update(num_workers=0, persistent_workers=False)
        config.train_dataloader.batch_size = 2
        runner = Runner.from_cfg(config)
        runner.load_or_resume()
        loader = runner.build_dataloader(config.train_dataloader)
        start = time.perf_counter()
        model = copy.deepcopy(runner.model)
        supernet = find_supernet(model)
        supernet.set_path(path_of(supernet.search_space))
        seen = 0
        model.train()
        with torch.no_grad():
            for batch in loader:
                data = model.data_preprocessor(batch, True)
                model(**data, mode='loss')
                seen += len(data['data_samples'])
                if seen >= number:
                    break
        runner.model = model
        runner.val_loop.run()
        seconds = time.perf_counter() - start
    return {
        'detector': detector,
        'part': 'whole candidate, copied and in the loops of mmdet',
        'value': 1e3 * seconds,
        'share, %': '',
    }


def tensorrt(sizes: Sizes, seconds: float, folder: Path) -> dict[str, object]:
    """Return the check of a table of latencies in TensorRT."""
    file = folder / 'tensorrt_table.json'
    command = [
        *(sys.executable, ROOT / 'tools/analysis_tools/measure_latency.py'),
        *(config_of('retinanet', 'supernet', sizes).filename, file),
        *('--shape', 224, 224, '--runtime', 'command', '--rounds', 2),
        *('--command', TRTEXEC, '--pattern', TRT_PATTERN),
        *('--name', 'TensorRT', '--check-paths', 6, '--without-rest'),
    ]
    subprocess.run(
        list(map(str, command)), check=True, timeout=seconds, cwd=ROOT
    )
    return json.loads(file.read_text())['check']


class Report:
    """Runs parts within the time, and keeps what they return."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.start = time.monotonic()
        self.training: list[dict] = []
        self.candidates: list[dict] = []
        self.tensorrt: dict = {}
        self.left_out: list[str] = []

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self.end - time.monotonic()

    @contextmanager
    def part(self, name: str, needed: float) -> Iterator[bool]:
        """Yield whether a part may run; a failure leaves it out."""
        if self.left < needed:
            self.left_out.append(f'{name}: no time')
            yield False
            return
        print(f'{name} ({self.left:.0f} s left)', flush=True)
        try:
            yield True
        except Exception as error:
            line = ' '.join(str(error).split())[:200]
            self.left_out.append(f'{name}: {type(error).__name__} {line}')
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def content(self, facts: dict) -> dict:
        return facts | dict(
            seconds=time.monotonic() - self.start,
            training=self.training,
            candidates=self.candidates,
            tensorrt=self.tensorrt,
            left_out=self.left_out,
        )


def markdown(content: dict) -> str:
    """Return the tables of a report."""
    height, width = content['shape']
    lines = [
        f'{content["device"]}, torch {content["torch"]}, {height} x {width}, '
        f'batch {content["batch_size"]}, {content["seconds"]:.0f} s in all.',
    ]
    for title in ('training', 'candidates'):
        rows = content[title]
        if rows:
            lines += ['', _row(rows[0]), _row(['---'] * len(rows[0]))]
            lines += [_row(row.values()) for row in rows]
    if content['tensorrt']:
        lines += ['', f'TensorRT table: {content["tensorrt"]}']
    if content['left_out']:
        lines += ['', 'Left out:', '']
        lines += [f'* {line}' for line in content['left_out']]
    return '\n'.join(lines) + '\n'


def _row(cells: object) -> str:
    texts = [f'{c:.4g}' if isinstance(c, float) else str(c) for c in cells]
    return f'| {" | ".join(texts)} |'


def main() -> None:
    args = parse_args()
    setup_compat()
    require_writable(args.out, '--out')
    sizes = TOY if args.toy else Sizes()
    device = 'cpu' if args.toy or not torch.cuda.is_available() else 'cuda'
    report = Report(args.minutes)
    modes = MODES if device == 'cuda' else ON_CPU
    for mode in modes:
        # Compiling takes longest, and comes last.
        needed = 90 if MODES[mode][2] else 20
        for detector in DETECTORS:
            with report.part(f'training {detector}, {mode}', needed) as runs:
                if runs:
                    report.training.append(
                        training(detector, mode, sizes, device)
                    )
        if mode == list(modes)[-2 if device == 'cuda' else -1]:
            measure_candidates(report, sizes, device)
    if shutil.which('trtexec'):
        with report.part('TensorRT table', 150) as runs:
            if runs:
                report.tensorrt = tensorrt(sizes, report.left, args.out)
    else:
        report.left_out.append('TensorRT table: trtexec is not installed')
    facts = conditions(argparse.Namespace(device=device, clock='wall'))
    facts |= dict(shape=sizes.shape, batch_size=sizes.batch_size)
    content = report.content(facts)
    write_atomically(args.out / 'gpu.json', json.dumps(content, indent=1))
    write_atomically(args.out / 'gpu.md', markdown(content))
    print(markdown(content))
    print(f'written to {args.out}')


def measure_candidates(report: Report, sizes: Sizes, device: str) -> None:
    for detector in DETECTORS:
        with report.part(f'candidate of {detector}', 30) as runs:
            if runs:
                report.candidates += candidate(
                    detector, sizes, device, report.left
                )
        with report.part(f'full evaluation of {detector}', 30) as runs:
            if runs:
                report.candidates.append(
                    full_evaluation(detector, sizes, device)
                )


if __name__ == '__main__':
    run_command(main)
