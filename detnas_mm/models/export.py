"""Export of detectors and backbones to ONNX and torch.export files."""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

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
from detnas_mm.utils.files import write_atomically

_BATCH = torch.export.Dim('batch')
_INSTALL = 'pip install onnx onnxscript onnxruntime'
# What is computed in 8 bits; boxes and scores stay in float.
_INT8_OPERATORS = ('Conv', 'Gemm', 'MatMul')


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
        backbone: It is set to eval mode.
        file: ``.pt2`` for ``torch.export``, ``.onnx`` for ONNX.
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
        write_onnx(
            backbone,
            (image,),
            file,
            inputs=['images'],
            outputs=[f'stage{index + 1}' for index in backbone.out_indices],
            dynamic_shapes=({0: _BATCH},),
        )
    else:
        raise InputError(f'the file must end in .pt2 or .onnx, got {file}')


def write_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    file: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    metadata: Mapping[str, object] | None = None,
    dynamic_shapes: object = None,
) -> None:
    """Write a module in eval mode as an ONNX file, completely or not at all.

    Args:
        module: The module.
        example: Its inputs, which set the sizes.
        file: The file.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        metadata: Entries of the file; all but texts become JSON.
        dynamic_shapes: As in ``torch.export.export``.
    """
    try:
        import onnxscript  # noqa: F401  (the exporter imports it late)
    except ModuleNotFoundError as error:
        raise InputError(f'{file} needs onnxscript: {_INSTALL}') from error
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        # Traced outside torch.onnx, in which mmdet takes other ways.
        program = torch.export.export(
            module, example, dynamic_shapes=dynamic_shapes
        )
        program = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
    for key, value in (metadata or {}).items():
        text = value if isinstance(value, str) else json.dumps(value)
        program.model.metadata_props[key] = text
    write_atomically(file, program.model_proto.SerializeToString())


def quantize_onnx(
    file: Path, out: Path, feeds: Iterable[Mapping[str, object]]
) -> None:
    """Write a file whose convolutions and linear layers compute in 8 bits.

    ``feeds`` are inputs by name, from which the ranges of values are measured.
    """
    try:
        import onnx
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.preprocess import quant_pre_process
    except ModuleNotFoundError as error:
        raise InputError(f'{out} needs onnxruntime: {_INSTALL}') from error

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = iter(feeds)

        def get_next(self) -> Mapping[str, object] | None:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        prepared, quantized = Path(folder, 'fp32'), Path(folder, 'int8')
        # Joins batch normalization with convolutions.
        quant_pre_process(file, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=_INT8_OPERATORS,
        )
        entries = onnx.load(file, load_external_data=False).metadata_props
        model = onnx.load(quantized)
        del model.metadata_props[:]
        model.metadata_props.extend(entries)
        onnx.save(model, quantized)
        os.replace(quantized, out)


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
    session = open_session(file)
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> tuple[Tensor, ...]:
        outputs = session.run(None, {name: images.numpy()})
        return tuple(map(torch.from_numpy, outputs))

    return run


def open_session(file: Path) -> Any:
    """Open an ONNX file in ONNX Runtime on the CPU."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f'{file} needs onnxruntime: {_INSTALL}') from error
    return onnxruntime.InferenceSession(
        str(file), providers=['CPUExecutionProvider']
    )
