"""The neck between backbone and classifier in ImageNet pre-training."""

from collections.abc import Sequence

from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from detnas_mm.registry import MODELS


@MODELS.register_module()
class DetNASClsNeck(BaseModule):
    """1x1 convolution, BN, ReLU, dropout and global average pooling.

    As in the authors' ImageNet code; a linear classifier follows.

    Args:
        in_channels: Channels of the last stage.
        out_channels: Input channels of the classifier.
        dropout: Dropout probability.
        norm_cfg: Config of the normalization.
        init_cfg: Initialization.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 1024,
        dropout: float = 0.2,
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1),
            build_norm_layer(norm_cfg, out_channels)[1],
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """Map stage features to one vector for each image, ``(N, C)``."""
        return (self.layers(features[-1]),)

    def init_weights(self) -> None:
        """Draw the weights as in the backbone."""
        if not self.is_init:
            conv, norm = self.layers[0], self.layers[1]
            nn.init.normal_(conv.weight, 0, 1 / conv.weight.shape[1])
            nn.init.zeros_(conv.bias)
            nn.init.ones_(norm.weight)
            nn.init.constant_(norm.bias, 1e-4)
        super().init_weights()
