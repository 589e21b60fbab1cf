"""The one-shot supernet: all paths of a search space in one network."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mmengine.model import BaseModule
from torch import Tensor, nn

from detnas_mm.models.backbones.base import (
    build_stem,
    check_frozen_stages,
    check_out_indices,
    forward_stages,
    freeze_stages,
    init_backbone,
    set_norm_eval,
)
from detnas_mm.models.backbones.choice_blocks import build_choice_block
from detnas_mm.models.checkpoint import require_matching_pretrained
from detnas_mm.registry import MODELS
from detnas_mm.structures import ArchPath, SearchSpace, get_search_space
from detnas_mm.utils.errors import InputError


@MODELS.register_module()
class DetNASSupernet(BaseModule):
    """Backbone that holds every choice of every block (Section 3.2).

    Only the blocks of the active path run, get gradients and update their
    BN statistics.

    Args:
        search_space: Name of a search space, its fields, or the space.
        shuffle: Channel shuffle of stride-1 blocks, ``'grouped'`` (the
            authors' supernets) or ``'interleaved'``.
        out_indices: Stages whose features are returned.
        frozen_stages: Stages that are not trained; -1 freezes nothing, 0 the
            stem, k the stem and the first k stages.
        norm_cfg: Config of the normalisation.
        norm_eval: Whether batch normalisation keeps its statistics in
            training.
        with_cp: Whether to save memory by computing blocks again in the
            backward pass.
        init_cfg: Initialisation; with type ``Pretrained``, a checkpoint that
            does not fit is an error. Defaults to the authors' one.

    Raises:
        InputError: If an argument is out of its range.
    """

    def __init__(
        self,
        search_space: str | Mapping | SearchSpace,
        shuffle: str = 'grouped',
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        self.search_space = get_search_space(search_space)
        self.shuffle = shuffle
        self.out_indices = check_out_indices(self.search_space, out_indices)
        self.frozen_stages = check_frozen_stages(
            self.search_space, frozen_stages
        )
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self._path: ArchPath | None = None

        self.stem = build_stem(self.search_space, norm_cfg)
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                build_choice_block(
                    name,
                    in_channels=position.in_channels,
                    out_channels=position.out_channels,
                    stride=position.stride,
                    shuffle=shuffle,
                    norm_cfg=norm_cfg,
                )
                for name in self.search_space.choices
            )
            for position in self.search_space.blocks
        )
        freeze_stages(
            self.stem, self.blocks, self.search_space, self.frozen_stages
        )

    @property
    def path(self) -> ArchPath | None:
        """The active path; ``None`` until one is set."""
        return self._path

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the features that are returned."""
        channels = self.search_space.stage_channels
        return tuple(channels[index] for index in self.out_indices)

    def set_path(self, path: Sequence[int] | str) -> None:
        """Makes a path the active one.

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
        """Makes a path the active one inside a ``with`` block."""
        before = self._path
        self.set_path(path)
        try:
            yield
        finally:
            self._path = before

    def active_blocks(self) -> list[nn.Module]:
        """Returns the blocks of the active path.

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
        """Returns the choices that the active path does not take."""
        active = set(map(id, self.active_blocks()))
        return [
            block
            for choices in self.blocks
            for block in choices
            if id(block) not in active
        ]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps images ``(N, 3, H, W)`` to the features of the stages."""
        return forward_stages(
            self.stem(x),
            self.active_blocks(),
            self.search_space,
            self.out_indices,
            self.with_cp,
        )

    def init_weights(self) -> None:
        """Draws the weights, or loads those of ``init_cfg``."""
        if not self.is_init:
            init_backbone(self.stem, self.blocks)
            require_matching_pretrained(self, self.init_cfg)
        super().init_weights()

    def train(self, mode: bool = True) -> 'DetNASSupernet':
        """Sets the mode; frozen stages and ``norm_eval`` stay in eval."""
        super().train(mode)
        freeze_stages(
            self.stem, self.blocks, self.search_space, self.frozen_stages
        )
        if mode and self.norm_eval:
            set_norm_eval(self)
        return self


def find_supernet(model: nn.Module) -> DetNASSupernet:
    """Returns the supernet in a model, which may be wrapped (DDP).

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
