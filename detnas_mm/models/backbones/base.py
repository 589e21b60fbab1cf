"""What the supernet and a searched backbone share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch.utils.checkpoint
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models.backbones.choice_blocks import build_block
from detnas_mm.models.checkpoint import require_matching_pretrained
from detnas_mm.structures import SearchSpace, get_search_space
from detnas_mm.utils.errors import InputError


class DetNASBackbone(BaseModule):
    """Stem and settings; a subclass adds ``blocks`` and ``active_blocks()``.

    Args:
        search_space: Name of a search space, its fields, or the space.
        shuffle: Channel shuffle of stride-1 blocks, ``'grouped'`` (the
            authors' supernets) or ``'interleaved'``.
        out_indices: Stages whose features are returned.
        frozen_stages: Stages that are not trained; -1 freezes nothing, 0 the
            stem, k the stem and the first k stages.
        norm_cfg: Config of the normalization.
        norm_eval: Whether batch normalization keeps its statistics in
            training.
        with_cp: Whether to save memory by recomputing each block in the
            backward pass.
        init_cfg: Initialization; with type ``Pretrained``, a checkpoint that
            does not fit is an error. Defaults to the authors' scheme.
    """

    blocks: nn.ModuleList

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
        self.search_space = get_search_space(search_space)
        self.shuffle = shuffle
        self.out_indices = tuple(out_indices)
        num_stages = len(self.search_space.stage_blocks)
        # A selection of the stages, each once and in rising order.
        selection = [i for i in range(num_stages) if i in self.out_indices]
        if not selection or list(self.out_indices) != selection:
            raise InputError(
                f'`out_indices` must be stages from 0 to {num_stages - 1} in '
                f'rising order, got {self.out_indices}'
            )
        if frozen_stages not in range(-1, num_stages + 1):
            raise InputError(
                f'`frozen_stages` must be -1 to {num_stages}, got '
                f'{frozen_stages}'
            )
        self.frozen_stages = frozen_stages
        self.norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.stem = build_stem(self.search_space, self.norm_cfg)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the returned features."""
        channels = self.search_space.stage_channels
        return tuple(channels[index] for index in self.out_indices)

    def build_block(self, index: int, choice: int) -> nn.Module:
        """Build one choice of one block."""
        return build_block(
            self.search_space,
            index,
            choice,
            shuffle=self.shuffle,
            norm_cfg=self.norm_cfg,
        )

    def active_blocks(self) -> list[nn.Module]:
        """Return the blocks that the forward pass runs, in order."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images ``(N, 3, H, W)`` to features of strides 4 to 32."""
        x = self.stem(x)
        outputs = []
        stages = [position.stage for position in self.search_space.blocks]
        ends = [*stages[1:], None]
        for block, stage, next_stage in zip(
            self.active_blocks(), stages, ends, strict=True
        ):
            recompute = self.with_cp and x.requires_grad
            x = _recomputed(block, x) if recompute else block(x)
            if stage != next_stage:
                if stage in self.out_indices:
                    outputs.append(x)
                if stage == self.out_indices[-1]:
                    break
        return tuple(outputs)

    def init_weights(self) -> None:
        """Draw the weights, or load the checkpoint of ``init_cfg``."""
        if not self.is_init:
            self._draw_weights()
            require_matching_pretrained(self, self.init_cfg)
        super().init_weights()

    def train(self, mode: bool = True) -> 'DetNASBackbone':
        """Set the mode; frozen stages and ``norm_eval`` stay in eval."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for layer in self.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def _freeze_stages(self) -> None:
        frozen = [] if self.frozen_stages < 0 else [self.stem]
        positions = self.search_space.blocks
        frozen += [
            block
            for block, position in zip(self.blocks, positions, strict=True)
            if position.stage < self.frozen_stages
        ]
        for module in frozen:
            module.eval()
            for param in module.parameters():
                param.requires_grad = False

    def _draw_weights(self) -> None:
        """Draw the weights as in the authors' ImageNet code.

        Stem convolution N(0, 0.01); other convolutions
        N(0, 1 / weight.shape[1]); BN weight 1 and bias 1e-4.
        """
        for layer in (*self.stem.modules(), *self.blocks.modules()):
            if isinstance(layer, nn.Conv2d):
                is_stem = layer is self.stem[0]
                std = 0.01 if is_stem else 1 / layer.weight.shape[1]
                nn.init.normal_(layer.weight, 0, std)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
            elif isinstance(layer, _BatchNorm) and layer.affine:
                nn.init.ones_(layer.weight)
                nn.init.constant_(layer.bias, 1e-4)


def build_stem(space: SearchSpace, norm_cfg: dict) -> nn.Sequential:
    """Build the 3x3 convolution of stride 2, with bias, BN and ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, space.stem_channels, 3, stride=2, padding=1),
        build_norm_layer(norm_cfg, space.stem_channels)[1],
        nn.ReLU(inplace=True),
    )


def _recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block, and run it again in the backward pass to save memory."""
    return torch.utils.checkpoint.checkpoint(
        block,
        x,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _unchanged_statistics(block)),
    )


@contextmanager
def _unchanged_statistics(block: nn.Module) -> Iterator[None]:
    """Keep the BN statistics: the second run must not count images twice."""
    saved = [
        (layer, layer.momentum, layer.num_batches_tracked.clone())
        for layer in block.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    for layer, *_ in saved:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum, count in saved:
            layer.momentum = momentum
            layer.num_batches_tracked.copy_(count)
