"""A searched backbone: one path of a search space as a network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from detnas_mm.structures import (
    PUBLISHED_PATHS,
    ArchPath,
    SearchSpace,
    get_search_space,
)
from detnas_mm.utils.errors import InputError


@dataclass(frozen=True)
class Architecture:
    """A path with its search space and channel shuffle."""

    search_space: SearchSpace
    path: ArchPath
    shuffle: str = 'grouped'


def resolve_architecture(
    path: str | int | Sequence[int] | Path,
    search_space: str | Mapping | SearchSpace | None = None,
) -> Architecture:
    """Finds out which network is meant.

    Args:
        path: Choice digits (with ``search_space``), a published name, or the
            ``best.json`` of a search.
        search_space: The search space. A published name or a ``best.json``
            has its own; if given as well, it must be the same.

    Raises:
        InputError: If the path is none of these, or of another space.
        InputError: If the ``best.json`` does not exist.
    """
    space = None if search_space is None else get_search_space(search_space)
    if isinstance(path, Path):
        path = str(path)
    if isinstance(path, int) and space is not None:
        # --cfg-options reads digits as a number, without leading zeros.
        path = str(path).zfill(space.num_blocks)
    if not isinstance(path, (str, Sequence)):
        raise InputError(
            '`path` must be the digits of a path as text, such as '
            f"'2120...' in quotes, got {path!r}"
        )
    shuffle = 'grouped'
    if isinstance(path, str) and path in PUBLISHED_PATHS:
        name, digits = PUBLISHED_PATHS[path]
        own_space = get_search_space(name)
    elif isinstance(path, str) and path.endswith('.json'):
        own_space, digits, shuffle = _read_result(path)
    elif space is None:
        raise InputError(
            '`path` must be the digits of a path together with '
            '`search_space`, a best.json, or one of '
            f'{", ".join(PUBLISHED_PATHS)}; got {path!r} and no search space'
        )
    else:
        own_space, digits = space, path
    if isinstance(digits, str) and not digits.replace(' ', '').isalnum():
        raise InputError(
            '`path` must be digits, a best.json, or one of '
            f'{", ".join(PUBLISHED_PATHS)}; got {path!r}'
        )
    if space is not None and space != own_space:
        raise InputError(
            f'{path} is a path of {own_space}, but `search_space` is {space}; '
            'give a path of that, or leave `search_space` out'
        )
    if isinstance(digits, str):
        return Architecture(own_space, own_space.parse(digits), shuffle)
    return Architecture(own_space, own_space.validate(digits), shuffle)


def _read_result(file: str) -> tuple[SearchSpace, str, str]:
    """Reads the ``best.json`` of a search."""
    if not Path(file).is_file():
        raise InputError(
            f'no search result at {file}; run tools/search.py first, or give '
            'the digits of a path'
        )
    try:
        result = json.loads(Path(file).read_text())
        space = get_search_space(result['search_space'])
        return space, result['path'], result['shuffle']
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{file} is not the best.json of a search: {error!r}'
        ) from error


@MODELS.register_module()
class DetNASNet(BaseModule):
    """Backbone of one path, to be trained and used like any other.

    Args:
        path: Choice digits such as ``'2120 2112 33130031 3132'`` (with
            ``search_space``), a published name such as
            ``'detnas_fpn_300m'``, or the ``best.json`` of a search.
        search_space: Name of a search space, its fields, or the space; not
            needed for a published name or a ``best.json``.
        shuffle: Channel shuffle of stride-1 blocks, ``'grouped'`` or
            ``'interleaved'``. Defaults to that of the ``best.json``, else
            ``'grouped'``. Weights fit only the one they were trained with.
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
        InputError: If the ``best.json`` does not exist.
    """

    def __init__(
        self,
        path: str | Sequence[int],
        search_space: str | Mapping | SearchSpace | None = None,
        shuffle: str | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_cfg: dict | None = None,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        architecture = resolve_architecture(path, search_space)
        self.search_space = architecture.search_space
        self.path = architecture.path
        self.shuffle = shuffle or architecture.shuffle
        self.out_indices = check_out_indices(self.search_space, out_indices)
        self.frozen_stages = check_frozen_stages(
            self.search_space, frozen_stages
        )
        self.norm_eval = norm_eval
        self.with_cp = with_cp

        self.stem = build_stem(self.search_space, norm_cfg)
        self.blocks = nn.ModuleList(
            build_choice_block(
                self.search_space.choices[choice],
                in_channels=position.in_channels,
                out_channels=position.out_channels,
                stride=position.stride,
                shuffle=self.shuffle,
                norm_cfg=norm_cfg,
            )
            for position, choice in zip(
                self.search_space.blocks, self.path, strict=True
            )
        )
        freeze_stages(
            self.stem, self.blocks, self.search_space, self.frozen_stages
        )

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the features that are returned."""
        channels = self.search_space.stage_channels
        return tuple(channels[index] for index in self.out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps images ``(N, 3, H, W)`` to the features of the stages."""
        return forward_stages(
            self.stem(x),
            self.blocks,
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

    def train(self, mode: bool = True) -> 'DetNASNet':
        """Sets the mode; frozen stages and ``norm_eval`` stay in eval."""
        super().train(mode)
        freeze_stages(
            self.stem, self.blocks, self.search_space, self.frozen_stages
        )
        if mode and self.norm_eval:
            set_norm_eval(self)
        return self
