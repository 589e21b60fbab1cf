"""The one-shot supernet: all paths of a search space in one network."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from detnas_mm.models.backbones.base import DetNASBackbone
from detnas_mm.models.backbones.entangled import entangle
from detnas_mm.registry import MODELS
from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError


@MODELS.register_module()
class DetNASSupernet(DetNASBackbone):
    """Backbone that holds every choice of every block (Section 3.2).

    Only the blocks of the active path run, get gradients and update their
    BN statistics. The other arguments are those of :class:`DetNASBackbone`.

    Args:
        entangled: Whether the choices of a block share their convolutions,
            see :func:`entangle`. Not part of the paper. A checkpoint has the
            keys and the values of a supernet whose choices do not.
    """

    def __init__(
        self,
        search_space: str | Mapping | SearchSpace,
        shuffle: str = 'grouped',
        entangled: bool = False,
        **settings: object,
    ) -> None:
        super().__init__(search_space, shuffle, **settings)
        self._path: ArchPath | None = None
        digits = range(self.search_space.num_choices)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                # No path runs a choice that the block does not have.
                self.build_block(index, digit)
                if digit in allowed
                else nn.Identity()
                for digit in digits
            )
            for index, allowed in enumerate(self.search_space.allowed_choices)
        )
        if entangled:
            for choices in self.blocks:
                entangle(choices)
        self._freeze_stages()

    @property
    def path(self) -> ArchPath | None:
        """The active path; ``None`` until one is set."""
        return self._path

    def set_path(self, path: Sequence[int] | str) -> None:
        """Make a path the active one: choices, or their digits."""
        if isinstance(path, str):
            path = self.search_space.parse(path)
        self._path = self.search_space.validate(path)

    @contextmanager
    def activate(self, path: Sequence[int] | str) -> Iterator[None]:
        """Make a path the active one inside a ``with`` block."""
        before = self._path
        self.set_path(path)
        try:
            yield
        finally:
            self._path = before

    def active_blocks(self) -> list[nn.Module]:
        """Return the blocks of the active path."""
        if self._path is None:
            raise RuntimeError(
                'the supernet has no active path: train with '
                'SinglePathSamplingHook among the custom_hooks, score paths '
                'by tools/search.py, or call set_path()'
            )
        return [
            choices[choice]
            for choices, choice in zip(self.blocks, self._path, strict=True)
        ]

    def inactive_blocks(self) -> list[nn.Module]:
        """Return the choices that are not on the active path."""
        active = set(map(id, self.active_blocks()))
        return [
            block
            for choices in self.blocks
            for block in choices
            if id(block) not in active
        ]


def find_supernet(model: nn.Module) -> DetNASSupernet:
    """Return the only supernet in a model, which may be wrapped (DDP)."""
    found = [m for m in model.modules() if isinstance(m, DetNASSupernet)]
    if len(found) != 1:
        raise InputError(
            'the model must have one DetNASSupernet, as its backbone: '
            f'{type(model).__name__} has {len(found)}'
        )
    return found[0]


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside a distributed wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def extract_path(
    state_dict: Mapping[str, Tensor], path: ArchPath, prefix: str = 'backbone.'
) -> dict[str, Tensor]:
    """Extract the weights of one path from a supernet's state dict.

    Args:
        state_dict: Weights of a supernet, or of a model around one.
        path: One choice for each block.
        prefix: Prefix of the supernet's keys; ``''`` for the state dict of
            the supernet itself.

    Returns:
        Weights of the same model with ``DetNASNet`` of that path: without
        the keys of other choices.
    """
    # {prefix}blocks.{block}.{choice}.{rest}
    choice_key = re.compile(
        re.escape(f'{prefix}blocks') + r'\.(\d+)\.(\d+)\.(.+)'
    )
    extracted = {}
    found = set()
    for key, value in state_dict.items():
        match = choice_key.fullmatch(key)
        if match is None:
            extracted[key] = value
            continue
        block, choice = int(match[1]), int(match[2])
        if block >= len(path):
            raise InputError(
                f'the supernet has a block {block}, but the path only '
                f'{len(path)} digits: it belongs to another search space'
            )
        found.add(block)
        if path[block] == choice:
            extracted[f'{prefix}blocks.{block}.{match[3]}'] = value
    # A choice without weights has no key, but its block has others.
    missing = sorted(set(range(len(path))) - found)
    if missing:
        raise InputError(
            f'no weights of the supernet under {prefix!r} for block(s) '
            f'{missing[:5]} of the path; expected keys like '
            f'{prefix}blocks.0.{path[0]}.main.0.weight'
        )
    return extracted
