"""Measure the own time of parts that run inside each other."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch

REST = 'rest'


class PartTimer:
    """Distributes the time of a run among its parts.

    The time of a part that runs inside another one is subtracted from the
    outer one. On a GPU every change of part synchronizes the device.

    Args:
        args: ``device`` and ``clock``.

    Attributes:
        parts: The ms of each part; time outside of all parts is the rest.
        marks: Copies of ``parts``, taken at the marks.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.parts: dict[str, float] = {}
        self.marks: list[dict[str, float]] = []
        self._is_cuda = args.device.startswith('cuda')
        cpu = args.clock == 'cpu'
        self._clock = time.process_time if cpu else time.perf_counter
        self._stack = [REST]
        self._since = 0.0

    def whole(self, run: Callable[[], object]) -> object:
        """Run the function whose parts are measured."""
        self._since = self._now()
        result = run()
        self._switch()
        return result

    @contextmanager
    def of_function(
        self, owner: object, name: str, part: str
    ) -> Iterator[None]:
        """Count the calls of a method as a part."""
        function = getattr(owner, name)

        def timed(*args: object, **kwargs: object) -> object:
            with self._inside(part):
                return function(*args, **kwargs)

        with mock.patch.object(owner, name, timed):
            yield

    @contextmanager
    def marks_after(self, owner: object, name: str) -> Iterator[None]:
        """Keep a copy of the parts after each call of a method."""
        function = getattr(owner, name)

        def marked(*args: object, **kwargs: object) -> object:
            result = function(*args, **kwargs)
            self._switch()
            self.marks.append(dict(self.parts))
            return result

        with mock.patch.object(owner, name, marked):
            yield

    @contextmanager
    def of_iterator(
        self, owner: object, name: str, part: str
    ) -> Iterator[None]:
        """Count the time that a generator method needs for its items."""
        function = getattr(owner, name)

        def timed(*args: object) -> Iterator[object]:
            iterator = iter(function(*args))
            while True:
                with self._inside(part):
                    item = next(iterator, self)
                if item is self:
                    return
                yield item

        with mock.patch.object(owner, name, timed):
            yield

    @contextmanager
    def _inside(self, part: str) -> Iterator[None]:
        self._switch()
        self._stack.append(part)
        try:
            yield
        finally:
            self._switch()
            self._stack.pop()

    def _switch(self) -> None:
        now = self._now()
        part = self._stack[-1]
        self.parts[part] = self.parts.get(part, 0.0) + now - self._since
        self._since = now

    def _now(self) -> float:
        if self._is_cuda:
            torch.cuda.synchronize()
        return self._clock() * 1e3
