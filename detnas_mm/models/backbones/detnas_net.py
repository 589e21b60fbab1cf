"""A searched backbone: one path of a search space as a network."""

from collections.abc import Mapping, Sequence

from torch import nn

from detnas_mm.models.backbones.architecture import resolve_architecture
from detnas_mm.models.backbones.base import DetNASBackbone
from detnas_mm.models.backbones.choice_blocks import build_block
from detnas_mm.registry import MODELS
from detnas_mm.structures import SearchSpace


@MODELS.register_module()
class DetNASNet(DetNASBackbone):
    """Backbone of one path, to be trained and used like any other.

    Args:
        path: Choice digits such as ``'2120 2112 33130031 3132'`` (with
            ``search_space``), a published name such as
            ``'detnas_fpn_300m'``, or the ``best.json`` of a search.
        search_space: Name of a search space, its fields, or the space; not
            needed for a published name or a ``best.json``.
        shuffle: Channel shuffle of stride-1 blocks, ``'grouped'`` or
            ``'interleaved'``. Defaults to the one of the ``best.json``, else
            ``'grouped'``. Weights fit only the one they were trained with.
        **settings: ``out_indices``, ``frozen_stages``, ``norm_cfg``,
            ``norm_eval``, ``with_cp``, ``init_cfg``: see
            :class:`DetNASBackbone`.

    Raises:
        InputError: If an argument is out of its range, or the ``best.json``
            does not exist.
    """

    def __init__(
        self,
        path: str | Sequence[int],
        search_space: str | Mapping | SearchSpace | None = None,
        shuffle: str | None = None,
        **settings: object,
    ) -> None:
        architecture = resolve_architecture(path, search_space)
        super().__init__(
            architecture.search_space,
            shuffle or architecture.shuffle,
            **settings,
        )
        self.path = architecture.path
        self.blocks = nn.ModuleList(
            build_block(
                self.search_space,
                index,
                choice,
                shuffle=self.shuffle,
                norm_cfg=self.norm_cfg,
            )
            for index, choice in enumerate(self.path)
        )
        self._freeze_stages()

    def active_blocks(self) -> list[nn.Module]:
        """Return the blocks of the path."""
        return list(self.blocks)
