"""What the supernet and a searched backbone have in common."""

from collections.abc import Iterable, Sequence

from mmcv.cnn import build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detnas_mm.models.backbones.recompute import run_without_keeping
from detnas_mm.structures import SearchSpace
from detnas_mm.utils.errors import InputError


def build_stem(space: SearchSpace, norm_cfg: dict) -> nn.Sequential:
    """Builds the 3x3 convolution of stride 2, with bias, BN and ReLU."""
    return nn.Sequential(
        nn.Conv2d(3, space.stem_channels, 3, stride=2, padding=1),
        build_norm_layer(norm_cfg, space.stem_channels)[1],
        nn.ReLU(inplace=True),
    )


def check_out_indices(
    space: SearchSpace, out_indices: Sequence[int]
) -> tuple[int, ...]:
    """Returns the indices of the stages whose output is wanted.

    Raises:
        InputError: If an index is not that of a stage.
    """
    stages = range(len(space.stage_blocks))
    out_indices = tuple(out_indices)
    if (
        not out_indices
        or not set(out_indices) <= set(stages)
        or list(out_indices) != sorted(set(out_indices))
    ):
        raise InputError(
            f'`out_indices` must be stages from 0 to {stages[-1]} in rising '
            f'order, got {out_indices}'
        )
    return out_indices


def check_frozen_stages(space: SearchSpace, frozen_stages: int) -> int:
    """Returns the number of frozen stages.

    Raises:
        InputError: If the space has not so many.
    """
    num_stages = len(space.stage_blocks)
    if frozen_stages not in range(-1, num_stages + 1):
        raise InputError(
            f'`frozen_stages` must be -1 to {num_stages}, got {frozen_stages}'
        )
    return frozen_stages


def forward_stages(
    x: Tensor,
    blocks: Iterable[nn.Module],
    space: SearchSpace,
    out_indices: Sequence[int],
    with_cp: bool = False,
) -> tuple[Tensor, ...]:
    """Runs the blocks and collects the outputs of the wanted stages.

    Args:
        x: Output of the stem, ``(N, C, H/2, W/2)``.
        blocks: The blocks to run, in order.
        space: The search space.
        out_indices: Stages whose output is returned.
        with_cp: Whether to save memory by computing each block again in the
            backward pass.

    Returns:
        Features of the stages, of strides 4, 8, 16, 32.
    """
    outputs = []
    positions = space.blocks
    for index, block in enumerate(blocks):
        if with_cp and x.requires_grad:
            x = run_without_keeping(block, x)
        else:
            x = block(x)
        stage = positions[index].stage
        is_last = index + 1 == len(positions)
        if is_last or positions[index + 1].stage != stage:
            if stage in out_indices:
                outputs.append(x)
            if stage == max(out_indices):
                break
    return tuple(outputs)


def freeze_stages(
    stem: nn.Module,
    blocks: Sequence[nn.Module],
    space: SearchSpace,
    frozen_stages: int,
) -> None:
    """Freezes the first stages, as ``frozen_stages`` of mmdet's backbones.

    Args:
        stem: The stem.
        blocks: The blocks.
        space: The search space.
        frozen_stages: -1 freezes nothing, 0 the stem, k the stem and the
            first k stages.
    """
    if frozen_stages < 0:
        return
    frozen = [stem]
    frozen += [
        block
        for block, position in zip(blocks, space.blocks, strict=True)
        if position.stage < frozen_stages
    ]
    for module in frozen:
        module.eval()
        for param in module.parameters():
            param.requires_grad = False


def set_norm_eval(module: nn.Module) -> None:
    """Puts all batch normalisation into evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


def init_backbone(stem: nn.Module, blocks: nn.Module) -> None:
    """Draws the weights as in the authors' ImageNet code.

    Stem convolution N(0, 0.01); the others N(0, 1 / weight.shape[1]); BN
    weight 1 and bias 1e-4.
    """
    for layer in stem.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, 0.01)
            nn.init.zeros_(layer.bias)
    for layer in blocks.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, 0, 1 / layer.weight.shape[1])
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for layer in (*stem.modules(), *blocks.modules()):
        if isinstance(layer, _BatchNorm) and layer.affine:
            nn.init.ones_(layer.weight)
            nn.init.constant_(layer.bias, 1e-4)
