"""Export of backbones to torch.export and ONNX files."""

from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from detnas_mm.models.backbones.detnas_net import DetNASNet
from detnas_mm.models.checkpoint import (
    load_state_dict,
    require_matching_keys,
    weights_below,
)
from detnas_mm.utils.errors import InputError

_BATCH = torch.export.Dim('batch')
_INSTALL = 'pip install onnx onnxscript onnxruntime'


def build_trained_backbone(config: Config, checkpoint: str) -> DetNASNet:
    """Build the ``DetNASNet`` of a detector or classifier with its weights."""
    init_default_scope(config.get('default_scope', 'mmdet'))
    backbone = MODELS.build(dict(config.model.backbone, init_cfg=None))
    if not isinstance(backbone, DetNASNet):
        raise InputError(
            'the backbone must be a DetNASNet, got '
            f'{type(backbone).__name__}; extract a path of a supernet by '
            'tools/model_converters/supernet_to_subnet.py'
        )
    prefix = 'backbone.'
    weights = weights_below(prefix, load_state_dict(checkpoint))
    require_matching_keys(backbone, weights, f'{prefix}* of {checkpoint}')
    backbone.load_state_dict(weights)
    return backbone.eval()


def export_backbone(backbone: DetNASNet, file: Path, image: Tensor) -> None:
    """Write a backbone as a file that runs without this package.

    The number of images is variable, their height and width are fixed. The
    outputs of ONNX are named by their stages, ``stage1`` and so on.

    Args:
        backbone: The backbone with its weights; it is set to eval mode.
        file: The file; ``.pt2`` for ``torch.export``, ``.onnx`` for ONNX.
        image: Images ``(N, 3, H, W)`` of the wanted size, with N of at least
            2: the exporter would treat 1 as a constant.
    """
    backbone.eval()
    if file.suffix == '.pt2':
        with torch.no_grad():
            program = torch.export.export(
                backbone, (image,), dynamic_shapes=({0: _BATCH},)
            )
        torch.export.save(program, file)
    elif file.suffix == '.onnx':
        _export_onnx(backbone, file, image)
    else:
        raise InputError(f'the file must end in .pt2 or .onnx, got {file}')


def _export_onnx(backbone: DetNASNet, file: Path, image: Tensor) -> None:
    try:
        import onnxscript  # noqa: F401  (the exporter imports it late)
    except ModuleNotFoundError as error:
        raise InputError(f'{file} needs onnxscript: {_INSTALL}') from error
    program = torch.onnx.export(
        backbone,
        (image,),
        dynamo=True,
        dynamic_shapes=({0: _BATCH},),
        input_names=['images'],
        output_names=[f'stage{index + 1}' for index in backbone.out_indices],
        verbose=False,
    )
    program.save(str(file))


@torch.no_grad()
def largest_difference(
    backbone: nn.Module, file: Path, images: Tensor
) -> float:
    """Return the largest difference between the outputs of both backbones.

    The images must have the size that the file was exported for.
    """
    outputs = load_exported(file)(images)
    return max(
        float((output - expected).abs().max())
        for expected, output in zip(backbone(images), outputs, strict=True)
    )


def load_exported(file: Path) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Return a function that runs an exported backbone on the CPU."""
    if file.suffix == '.pt2':
        return torch.export.load(file).module()
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f'{file} needs onnxruntime: {_INSTALL}') from error
    session = onnxruntime.InferenceSession(
        str(file), providers=['CPUExecutionProvider']
    )
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> tuple[Tensor, ...]:
        outputs = session.run(None, {name: images.numpy()})
        return tuple(map(torch.from_numpy, outputs))

    return run
