"""Report the installed stack, its problems and the commands that fix them.

Run as ``python -m detnas_mm.check_env``; the exit code is 1 if a problem is
fatal. It also works with a stack that is missing or broken: it tries every
import and reports a failure.
"""

import importlib
import importlib.util
import platform
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from detnas_mm.compat import versions
from detnas_mm.compat.versions import Problem
from detnas_mm.version import __version__

# Imported in this order, so that the first failure is the cause.
MODULES = (
    'numpy',
    'torch',
    'torchvision',
    'cv2',
    'pycocotools',
    'mmengine',
    'mmcv',
    'mmdet',
    'mmpretrain',
)
# A package may import although its compiled part is broken.
PROBES = {
    'pycocotools': 'pycocotools.mask',
    'mmcv': 'mmcv.ops',
    'mmdet': 'mmdet.models',
}


def main() -> int:
    """Print the report and return the exit code."""
    problems = versions.find_problems()
    problems += import_problems(problems)
    if not any(problem.fatal for problem in problems):
        problems += operator_problems()

    for name, value in describe():
        print(f'{name + ":":18s}{value}')
    print()
    for problem in problems:
        print('ERROR  ' if problem.fatal else 'WARNING', problem.text)
        print('        run:', problem.command)
    if not problems:
        print('No problem found.')
    return int(any(problem.fatal for problem in problems))


def describe() -> Iterator[tuple[str, str]]:
    """Yield what is installed, as pairs of a name and a text."""
    yield 'detnas_mm', f'{__version__} ({Path(__file__).parent})'
    yield 'python', f'{platform.python_version()} ({sys.executable})'
    for name in MODULES:
        yield name, versions.installed_version(name) or 'not installed'
    yield 'family', ' and '.join(versions.families()) or 'none'
    yield 'mmcv operators', operator_source()
    yield 'GPU', gpu_description()
    yield 'start-up file', startup_description()


def import_problems(known: list[Problem]) -> list[Problem]:
    """Import everything; return the first failure that is not known yet."""
    for name in filter(versions.is_importable, MODULES):
        module = PROBES.get(name, name)
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken package may raise anything
            is_missing = isinstance(error, ModuleNotFoundError)
            if is_missing and any(p.fatal for p in known):
                continue
            text = f'import {module} fails: {_first_line(error)}'
            return [Problem(text, _reinstall_command(name))]
    return []


def operator_problems() -> list[Problem]:
    """Run one operator of mmcv, on the GPU if there is one."""
    import torch
    from mmcv.ops import nms

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0]])
    scores = torch.tensor([0.5, 0.9])
    try:
        _, kept = nms(boxes.to(device), scores.to(device), 0.5)
    except Exception as error:  # a broken operator may raise anything
        text = _first_line(error)
    else:
        if kept.tolist() == [1]:
            return []
        text = f'kept boxes {kept.tolist()}, expected [1]'
    text = f'mmcv.ops.nms fails on {device}: {text}'
    return [Problem(text, _reinstall_command('torch'))]


def operator_source() -> str:
    """Return which package provides mmcv's operators."""
    try:
        spec = importlib.util.find_spec('mmcv._ext')
    except Exception as error:  # mmcv itself cannot be imported
        return f'unknown ({type(error).__name__})'
    if spec is None or spec.origin is None:
        return 'none'
    if spec.origin == 'detnas_mm.compat.mmcv_ops':
        return 'torchvision (this mmcv was built without its own)'
    return f'compiled ({spec.origin})'


def gpu_description() -> str:
    """Return the names of the GPUs, or the reason why there is none."""
    try:
        import torch

        if torch.cuda.is_available():
            count = torch.cuda.device_count()
            return ', '.join(map(torch.cuda.get_device_name, range(count)))
        if torch.version.cuda:
            return (
                f'none, although torch is built for CUDA {torch.version.cuda}'
                ' (no NVIDIA GPU, or its driver is missing or too old)'
            )
        return 'none (torch is built for the CPU)'
    except Exception as error:  # torch is missing or broken
        return f'unknown ({type(error).__name__})'


def startup_description() -> str:
    """Return the place of the start-up file that serves other programs."""
    for folder in (*site.getsitepackages(), site.getusersitepackages()):
        path = Path(folder, 'detnas_mm.pth')
        if path.exists():
            return f'{path} (delete it to switch it off)'
    return 'none: other programs must import detnas_mm before mmdet'


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {str(error).strip()}'.split('\n')[0]


def _reinstall_command(name: str) -> str:
    if name in ('torch', 'torchvision'):
        return f'pip install --force-reinstall {versions.TORCH_PINS}'
    family = (versions.families() or ['openmmlab'])[0]
    if name == 'mmcv':  # usually its operators were built for another torch
        return versions.REINSTALL_MMCV[family]
    if name in versions.DISTRIBUTIONS[family]:
        return versions.INSTALL[family]
    package = versions.OTHER_DISTRIBUTIONS.get(name, (name,))[0]
    return f'pip install --force-reinstall {package}'


if __name__ == '__main__':
    sys.exit(main())
