"""What is checked of the choice blocks that a user registers."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

# Height and width of the features that a block is tried with: large enough for
# any kernel and padding.
_SIZE = 32


def build_own_block(
    name: str,
    build: Callable[..., nn.Module],
    *,
    in_channels: int,
    out_channels: int,
    stride: int,
    **settings: object,
) -> nn.Module:
    """Builds a block that is not ours, and tries it before anything trains.

    Args:
        name: The name that it is registered under.
        build: What is registered.
        in_channels: Channels of the input.
        out_channels: Channels that the output must have.
        stride: Stride that it must have.
        settings: The other arguments.

    Raises:
        ValueError: If it cannot be built, or its output has another shape.
    """
    shape = dict(
        in_channels=in_channels, out_channels=out_channels, stride=stride
    )
    try:
        block = build(**shape, **settings)
    except TypeError as error:
        names = ', '.join(chain(shape, settings))
        is_call = error.__traceback__.tb_next is None
        hint = f': it is called with {names} by name' if is_call else ''
        raise _wrong(name, f'{_failure(error)}{hint}') from error
    if not isinstance(block, nn.Module):
        kind = type(block).__name__
        raise _wrong(name, f'returned {kind}, expected a torch.nn.Module')
    _check_output(name, block, **shape)
    return block


def _failure(error: Exception) -> str:
    """Says what went wrong, and where in the code of the block."""
    places = traceback.extract_tb(error.__traceback__)
    own = [one for one in places if 'site-packages' not in one.filename]
    text = ' '.join(str(error).split())
    return f'failed with "{text}" at {own[-1].filename}:{own[-1].lineno}'


def _wrong(name: str, what: str) -> ValueError:
    return ValueError(
        f'choice block {name!r} {what}; see "A new block" in '
        'docs/own_search_space.md'
    )


def _check_output(
    name: str,
    block: nn.Module,
    *,
    in_channels: int,
    out_channels: int,
    stride: int,
) -> None:
    tensor = next(chain(block.parameters(), block.buffers()), torch.empty(0))
    if tensor.is_meta:
        return
    given = (1, in_channels, _SIZE, _SIZE)
    expected = (1, out_channels, _SIZE // stride, _SIZE // stride)
    x = torch.zeros(given, device=tensor.device)
    try:
        output = _run(block, x)
    except Exception as error:
        got = _failure(error)
    else:
        got = f'gave {type(output).__name__}'
        if isinstance(output, Tensor):
            got = f'gave {tuple(output.shape)}'
            if output.shape == expected:
                return
    raise _wrong(
        name,
        f'{got} for features of {given}, expected {expected}: in_channels='
        f'{in_channels}, out_channels={out_channels}, stride={stride}',
    )


def _run(block: nn.Module, x: Tensor) -> object:
    """Runs a block, and leaves it and the random state as they were."""
    # What is written into buffers is written into copies.
    buffers = {name: one.clone() for name, one in block.named_buffers()}
    devices = [x.device] if x.is_cuda else []
    with torch.no_grad(), torch.random.fork_rng(devices), _in_eval(block):
        return torch.func.functional_call(block, buffers, (x,))


@contextmanager
def _in_eval(block: nn.Module) -> Iterator[None]:
    training = {module: module.training for module in block.modules()}
    block.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was
