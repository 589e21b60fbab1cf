"""Choice blocks whose two branches of stride 2 are equally wide.

The authors' projection keeps the number of input channels; in ShuffleNetV2,
and in the DetNAS nets of MMRazor, it gives half of the output channels. With
stride 1 there is no difference.
"""

from detnas_mm.models.backbones.choice_blocks import (
    MainBranch,
    ShuffleBlock,
    shuffle_main,
    xception_main,
)
from detnas_mm.registry import CHOICE_BLOCKS

EVEN_CHOICES = (
    'even_shuffle_3x3',
    'even_shuffle_5x5',
    'even_shuffle_7x7',
    'even_xception',
)


def _even_block(
    kernel_size: int,
    main_branch: MainBranch,
    *,
    out_channels: int,
    **settings: object,
) -> ShuffleBlock:
    return ShuffleBlock(
        kernel_size=kernel_size,
        main_branch=main_branch,
        out_channels=out_channels,
        projected_channels=out_channels // 2,
        **settings,
    )


@CHOICE_BLOCKS.register_module()
def even_shuffle_3x3(**settings: object) -> ShuffleBlock:
    """Builds a ShuffleNetV2 block."""
    return _even_block(3, shuffle_main, **settings)


@CHOICE_BLOCKS.register_module()
def even_shuffle_5x5(**settings: object) -> ShuffleBlock:
    """Builds a ShuffleNetV2 block with a 5x5 depthwise convolution."""
    return _even_block(5, shuffle_main, **settings)


@CHOICE_BLOCKS.register_module()
def even_shuffle_7x7(**settings: object) -> ShuffleBlock:
    """Builds a ShuffleNetV2 block with a 7x7 depthwise convolution."""
    return _even_block(7, shuffle_main, **settings)


@CHOICE_BLOCKS.register_module()
def even_xception(**settings: object) -> ShuffleBlock:
    """Builds a block with three separable 3x3 convolutions."""
    return _even_block(3, xception_main, **settings)
