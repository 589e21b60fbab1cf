"""The one-shot supernet: all paths of a search space in one network."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mmengine.model import is_model_wrapper
from torch import nn

from detnas_mm.models.backbones.base import DetNASBackbone
from detnas_mm.models.backbones.choice_blocks import build_block
from detnas_mm.registry import MODELS
from detnas_mm.structures import ArchPath, SearchSpace
from detnas_mm.utils.errors import InputError


@MODELS.register_module()
class DetNASSupernet(DetNASBackbone):
    """Backbone that holds every choice of every block (Section 3.2).

    Only the blocks of the active path run, get gradients and update their
    BN statistics.

    Args:
        search_space: Name of a search space, its fields, or the space.
        shuffle: Channel shuffle of stride-1 blocks, ``'grouped'`` (the
            authors' supernets) or ``'interleaved'``.
        **settings: ``out_indices``, ``frozen_stages``, ``norm_cfg``,
            ``norm_eval``, ``with_cp``, ``init_cfg``: see
            :class:`DetNASBackbone`.

    Raises:
        InputError: If an argument is out of its range.
    """

    def __init__(
        self,
        search_space: str | Mapping | SearchSpace,
        shuffle: str = 'grouped',
        **settings: object,
    ) -> None:
        super().__init__(search_space, shuffle, **settings)
        self._path: ArchPath | None = None
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                build_block(
                    self.search_space,
                    index,
                    choice,
                    shuffle=self.shuffle,
                    norm_cfg=self.norm_cfg,
                )
                for choice in range(self.search_space.num_choices)
            )
            for index in range(self.search_space.num_blocks)
        )
        self._freeze_stages()

    @property
    def path(self) -> ArchPath | None:
        """The active path; ``None`` until one is set."""
        return self._path

    def set_path(self, path: Sequence[int] | str) -> None:
        """Make a path the active one.

        Args:
            path: One choice for each block, or their digits.

        Raises:
            InputError: If it is not a path of the search space.
        """
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
        """Return the blocks of the active path.

        Raises:
            RuntimeError: If no path is active.
        """
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
    """Return the supernet in a model, which may be wrapped (DDP).

    Raises:
        InputError: If there is not exactly one.
    """
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
