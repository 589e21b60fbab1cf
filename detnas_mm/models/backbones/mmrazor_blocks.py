"""Choice blocks of MMRazor's DetNAS.

With stride 2 both branches are equally wide, as in ShuffleNetV2: the
projection gives half of the output channels, where the authors' projection
keeps the number of input channels. With stride 1 there is no difference.
"""

from detnas_mm.models.backbones.choice_blocks import (
    MainBranch,
    ShuffleBlock,
    shuffle_main,
    xception_main,
)
from detnas_mm.registry import CHOICE_BLOCKS

MMRAZOR_CHOICES = (
    'even_shuffle_3x3',
    'even_shuffle_5x5',
    'even_shuffle_7x7',
    'even_xception',
)


def _register(name: str, kernel_size: int, main_branch: MainBranch) -> None:
    def build(*, out_channels: int, **settings: object) -> ShuffleBlock:
        return ShuffleBlock(
            out_channels=out_channels,
            kernel_size=kernel_size,
            main_branch=main_branch,
            projected_channels=out_channels // 2,
            **settings,
        )

    CHOICE_BLOCKS.register_module(name=name, module=build)


for _name, _kernel_size in zip(MMRAZOR_CHOICES[:3], (3, 5, 7), strict=True):
    _register(_name, _kernel_size, shuffle_main)
_register(MMRAZOR_CHOICES[3], 3, xception_main)
