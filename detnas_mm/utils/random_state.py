"""A fixed random state for the duration of a ``with`` block."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def fixed_random_state(seed: Sequence[int]) -> Iterator[None]:
    """Seed Python's, NumPy's and PyTorch's global generators, then restore.

    The block draws the same random numbers each time. Code after the block
    draws the numbers that it would draw without the block.
    """
    words = np.random.SeedSequence(list(seed)).generate_state(2)
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    # A worker process of a data loader must not touch CUDA.
    is_on_cuda = torch.cuda.is_initialized()
    devices = [torch.cuda.current_device()] if is_on_cuda else []
    with torch.random.fork_rng(devices=devices):
        random.seed(int(words[0]))
        np.random.seed(words[0])
        # torch.manual_seed() also records a stack trace for the later
        # initialization of CUDA, which is slow.
        torch.default_generator.manual_seed(int(words[1]))
        if devices:
            torch.cuda.manual_seed(int(words[1]))
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
