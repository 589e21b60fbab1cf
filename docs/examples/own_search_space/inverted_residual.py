"""A custom choice block: the inverted residual of MobileNetV2."""

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from detnas_mm.registry import CHOICE_BLOCKS


class InvertedResidual(nn.Module):
    """Widens, filters each channel, and narrows again.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: 1 or 2; the first block of a stage has 2.
        shuffle: Not used: this block has no channels to shuffle.
        norm_cfg: Config of the normalization.
        kernel_size: Kernel size of the depthwise convolution.
        expansion: Factor by which the block widens its input.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        shuffle: str,
        norm_cfg: dict,
        kernel_size: int,
        expansion: int = 3,
    ) -> None:
        super().__init__()
        inside = expansion * in_channels
        self.main = nn.Sequential(
            ConvModule(in_channels, inside, 1, norm_cfg=norm_cfg),
            ConvModule(
                inside,
                inside,
                kernel_size,
                stride=stride,
                padding=kernel_size // 2,
                groups=inside,
                norm_cfg=norm_cfg,
            ),
            ConvModule(
                inside, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None
            ),
        )
        self.has_shortcut = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, C_in, H, W)`` to ``(N, C_out, H/stride, W/stride)``."""
        return x + self.main(x) if self.has_shortcut else self.main(x)


# A choice is a name without settings, so each variant has a name.
@CHOICE_BLOCKS.register_module()
def inverted_3x3(**settings: object) -> InvertedResidual:
    """Builds an inverted residual with a 3x3 depthwise convolution."""
    return InvertedResidual(kernel_size=3, **settings)


@CHOICE_BLOCKS.register_module()
def inverted_5x5(**settings: object) -> InvertedResidual:
    """Builds an inverted residual with a 5x5 depthwise convolution."""
    return InvertedResidual(kernel_size=5, **settings)
