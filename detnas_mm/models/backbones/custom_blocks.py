"""Check of the choice blocks that users register."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from detnas_mm.utils.errors import InputError

# Height and width of the trial features: enough for any kernel and padding.
_TRIAL_SIZE = 32


def build_custom_block(
    name: str, build: Callable[..., nn.Module], settings: Mapping
) -> nn.Module:
    """Build a block and run it once, before anything is trained.

    Args:
        name: Its name in the registry.
        build: The registered function or class.
        settings: Its arguments.

    Raises:
        InputError: If it does not build, does not run, or has an output of
            another shape.
    """
    size = _TRIAL_SIZE // settings['stride']
    given = (1, settings['in_channels'], _TRIAL_SIZE, _TRIAL_SIZE)
    expected = (1, settings['out_channels'], size, size)
    cause = None
    try:
        block = build(**settings)
        output = _try_block(block, given)
    except Exception as error:
        cause = error
        text = ' '.join(str(error).split())
        problem = f'failed with {type(error).__name__} "{text}"'
    else:
        if isinstance(output, Tensor) and output.shape == expected:
            return block
        shape = tuple(getattr(output, 'shape', ())) or type(output).__name__
        problem = f'returned {shape}'
    raise InputError(
        f'choice block {name!r} {problem}; called with '
        f'{", ".join(f"{key}={value}" for key, value in settings.items())} '
        f'it must build a module that maps {given} to {expected}, see "A new '
        'block" in docs/own_search_space.md'
    ) from cause


def _try_block(block: nn.Module, shape: tuple[int, ...]) -> object:
    """Run a block; its buffers and the random state stay unchanged."""
    if not isinstance(block, nn.Module):
        raise TypeError(f'it is a {type(block).__name__}, not a Module')
    tensor = next(chain(block.parameters(), block.buffers()), torch.empty(0))
    x = torch.zeros(shape, device=tensor.device)
    buffers = {key: value.clone() for key, value in block.named_buffers()}
    devices = [x.device] if x.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(devices), _eval_mode(block):
        return torch.func.functional_call(block, buffers, (x,))


@contextmanager
def _eval_mode(block: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in block.modules()}
    block.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
