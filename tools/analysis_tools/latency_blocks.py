"""The parts of a supernet whose latencies make a table.

Blocks of equal shape are one part. Whole backbones, and neck and heads, are
further parts. A manifest says which part is what; its digest names all.
"""

import json
import math
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from run_latency import MANIFEST, measure_folder
from torch import Tensor, nn

from detnas_mm.cost import LatencyTable
from detnas_mm.evaluation.latency_check import check_predictions
from detnas_mm.models import DetNASSupernet, exact_cost_table
from detnas_mm.models.detector_program import RestProgram
from detnas_mm.models.export import quantize_onnx, write_onnx
from detnas_mm.structures import ArchPath, get_search_space
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import text_digest, write_atomically

STEM, REST = 'stem.onnx', 'rest.onnx'
_STATISTIC = {'wall': 'minimum', 'cpu': 'minimum of the CPU time'}
_TIMES_ENTRIES = (
    *('folder', 'times', 'rounds', 'runtime', 'software', 'precision'),
    *('threads', 'device'),
)
# Of uneven paths.
_CONCENTRATION = 0.4


class PathProgram(nn.Module):
    """The whole backbone of one path of a supernet."""

    def __init__(self, supernet: DetNASSupernet, path: ArchPath) -> None:
        super().__init__()
        self.supernet, self.path = supernet, path

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        with self.supernet.activate(self.path):
            return self.supernet(images)


@dataclass
class Parts:
    """Modules with their inputs by name, and what they are."""

    modules: dict[str, tuple[nn.Module, list[Tensor]]] = field(
        default_factory=dict
    )
    manifest: dict = field(default_factory=dict)


@torch.no_grad()
def collect_parts(
    model: nn.Module,
    supernet: DetNASSupernet,
    images: Tensor,
    num_nets: int = 20,
    seed: int = 0,
) -> Parts:
    """Collect the parts of a detector.

    Args:
        model: The detector, or anything else around the supernet: then there
            are no neck and heads. Its weights do not matter.
        supernet: Its supernet.
        images: A batch, of shape ``(N, 3, H, W)``.
        num_nets: Number of whole backbones, half of them drawn unevenly.
        seed: Seed of their paths.
    """
    if num_nets < 4:
        raise InputError(f'--check-paths must be at least 4, got {num_nets}')
    model.eval()
    parts = Parts()
    rows, features = _collect_blocks(parts, supernet, images)
    nets = _collect_nets(parts, supernet, images, num_nets, seed)
    if len(images) == 1:
        _collect_rest(parts, model, supernet, images, features)
    parts.manifest.update(
        # Times of the neck and heads of another detector do not fit.
        detector=type(model).__name__,
        parameters=sum(p.numel() for p in model.parameters()),
        search_space=supernet.search_space.to_dict(),
        shuffle=supernet.shuffle,
        input_size=list(images.shape[2:]),
        batch_size=len(images),
        precision='fp32',
        stem=STEM,
        blocks=rows,
        nets=nets,
        rest=REST if REST in parts.modules else None,
        files=list(parts.modules),
    )
    return parts


def _collect_nets(
    parts: Parts,
    supernet: DetNASSupernet,
    images: Tensor,
    count: int,
    seed: int,
) -> list[dict]:
    """Collect whole backbones, half of them uneven, and describe them."""
    space = supernet.search_space
    rng = np.random.default_rng(seed)
    half = count // 2
    paths = space.random_paths(rng, half)
    paths += space.random_paths(rng, count - half, _CONCENTRATION)
    costs = exact_cost_table(space, tuple(images.shape[2:]))
    nets = []
    for index, path in enumerate(paths):
        name = f'net_{index}.onnx'
        parts.modules[name] = PathProgram(supernet, path), [images]
        nets.append(
            dict(
                file=name,
                path=space.format(path),
                macs=costs.macs(path),
                is_uneven=index >= half,
            )
        )
    return nets


def _collect_rest(
    parts: Parts,
    model: nn.Module,
    supernet: DetNASSupernet,
    images: Tensor,
    features: list[Tensor],
) -> None:
    """Collect neck and heads, if the model has some that can be exported."""
    path = next(supernet.search_space.all_paths())
    try:
        with supernet.activate(path):
            rest = RestProgram(model, tuple(images.shape[2:]))
        parts.modules[REST] = rest, features
    except InputError as error:
        print(f'without neck and heads: {str(error).partition(":")[0]}')


def _collect_blocks(
    parts: Parts, supernet: DetNASSupernet, x: Tensor
) -> tuple[list[list[str | None]], list[Tensor]]:
    """Collect stem and blocks; return their names and features by stage."""
    space = supernet.search_space
    parts.modules[STEM] = supernet.stem, [x]
    x = supernet.stem(x)
    known: dict[tuple, str | None] = {}
    rows, features = [], {}
    for index, position in enumerate(space.blocks):
        names = {}
        for digit in space.allowed_choices[index]:
            choice = space.choice_blocks[digit]
            block = supernet.blocks[index][digit]
            key = choice, position.out_channels, position.stride, x.shape
            if key not in known:
                known[key] = None
                if choice.type != 'skip':
                    known[key] = f'block_{index}_{digit}.onnx'
                    parts.modules[known[key]] = block, [x]
            names[digit] = known[key]
        x = block(x)
        rows.append(list(space.complete_row(names)))
        features[position.stage] = x
    return rows, [features[stage] for stage in supernet.out_indices]


def export_parts(
    parts: Parts, supernet: DetNASSupernet, folder: Path, is_int8: bool
) -> None:
    """Write each part as an ONNX file, and the manifest, or nothing."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise InputError(
            f'{folder} needs onnx: pip install onnx onnxscript onnxruntime'
        ) from error
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f'{folder} is not empty; use another folder')
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        place = Path(temporary, folder.name)
        place.mkdir()
        protos: dict[str, Any] = {}
        for name, (module, inputs) in parts.modules.items():
            file = place / name
            if isinstance(module, PathProgram):
                glued = _glue(protos, parts, supernet, module.path)
                write_atomically(file, glued.SerializeToString())
            else:
                _export(module, inputs, file)
                protos[name] = onnx.load(file)
        if is_int8:
            parts.manifest['precision'] = 'int8'
            for name, (_, inputs) in parts.modules.items():
                _quantize(place / name, inputs)
        parts.manifest['digest'] = text_digest(json.dumps(parts.manifest))
        text = json.dumps(parts.manifest, indent=1) + '\n'
        write_atomically(place / MANIFEST, text)
        # Replaces an empty folder.
        place.replace(folder)


def _export(module: nn.Module, inputs: Sequence[Tensor], file: Path) -> None:
    with torch.no_grad():
        outputs = module(*inputs)
    number = 1 if isinstance(outputs, Tensor) else len(outputs)
    write_onnx(
        module,
        tuple(inputs),
        file,
        inputs=[f'input{index}' for index in range(len(inputs))],
        outputs=[f'output{index}' for index in range(number)],
    )


def _quantize(file: Path, inputs: Sequence[Tensor]) -> None:
    feed = {f'input{i}': x.numpy() for i, x in enumerate(inputs)}
    quantize_onnx(file, file, [feed])


def measure_nets(
    supernet: DetNASSupernet,
    paths: Sequence[ArchPath],
    images: Tensor,
    runtime: str,
    args: Namespace,
) -> tuple[list[float], dict]:
    """Measure the whole backbones of some paths in a runtime.

    Args:
        supernet: The supernet; its weights do not matter.
        paths: The paths.
        images: A batch, of shape ``(N, 3, H, W)``.
        runtime: One of ``run_latency.PREPARE``.
        args: The options of ``run_latency.add_runtime_options``.

    Returns:
        The least ms of each path, and what all were measured with.
    """
    supernet.eval()
    is_int8 = args.precision == 'int8'
    args = Namespace(**vars(args) | ({'precision': 'fp32'} if is_int8 else {}))
    names = [f'net_{index}.onnx' for index in range(len(paths))]
    manifest = dict(files=names, rest=None, digest='')
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / MANIFEST).write_text(json.dumps(manifest))
        for name, path in zip(names, paths, strict=True):
            with supernet.activate(path):
                _export(supernet, [images], folder / name)
            if is_int8:
                _quantize(folder / name, [images])
        content = measure_folder(folder, runtime, args)
    rounds = _read_rounds(content, names)
    if is_int8:
        content['precision'] = 'int8'
    return [float(rounds[name].min()) for name in names], content


def _glue(
    protos: Mapping[str, Any],
    parts: Parts,
    supernet: DetNASSupernet,
    path: ArchPath,
) -> Any:
    """Join the files of a path to one model, by renaming their tensors."""
    import onnx

    space = supernet.search_space
    last = {block.stage: i for i, block in enumerate(space.blocks)}
    ends = {last[stage] for stage in supernet.out_indices}
    rows = zip(parts.manifest['blocks'], path, strict=True)
    first = protos[STEM]
    nodes, weights, outputs = [], [], []
    value = first.graph.input[0]
    for index, name in enumerate([STEM, *(row[c] for row, c in rows)], -1):
        if name is not None:
            part = onnx.ModelProto()
            part.CopyFrom(protos[name])
            onnx.compose.add_prefix(part, f'part{index}/', inplace=True)
            entry = part.graph.input[0].name
            for node in part.graph.node:
                node.input[:] = [
                    value.name if tensor == entry else tensor
                    for tensor in node.input
                ]
            nodes += part.graph.node
            weights += part.graph.initializer
            value = part.graph.output[0]
        if index in ends:
            outputs.append(value)
    graph = onnx.helper.make_graph(
        nodes, 'backbone', [first.graph.input[0]], outputs, weights
    )
    return onnx.helper.make_model(
        graph, opset_imports=first.opset_import, ir_version=first.ir_version
    )


def read_json(file: Path, what: str, entries: Sequence[str]) -> dict:
    """Read a JSON object that a command has written, with some entries."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f'{file} is not {what}: {error}') from error
    if not isinstance(content, dict):
        raise InputError(f'{file} is not {what}: it is no JSON object')
    missing = [entry for entry in entries if entry not in content]
    if missing:
        raise InputError(f'{file} is not {what}: it lacks {missing[0]!r}')
    return content


def read_times(folder: Path, times_file: Path) -> tuple[dict, dict]:
    """Return the manifest of a folder, and what was measured with it.

    Raises:
        InputError: If the times are of another folder.
    """
    manifest = read_json(
        folder / MANIFEST, 'the manifest of a folder of blocks', ['digest']
    )
    times = read_json(
        times_file, 'a file of times of run_latency.py', _TIMES_ENTRIES
    )
    if times['folder'] != manifest['digest']:
        raise InputError(
            f'{times_file} was measured with another folder than {folder}: '
            'run run_latency.py with this folder'
        )
    return manifest, times


def build_table(manifest: Mapping, times: Mapping) -> LatencyTable:
    """Build the table from the times of all parts, and check it.

    Args:
        manifest: The manifest of the parts.
        times: ``times``, the ms of each part in each round, and what they
            are for.

    Raises:
        InputError: If times are missing or not positive.
    """
    rest = manifest['rest']
    if times.get('without_rest'):
        rest = None
    rounds = _read_rounds(
        times,
        [n for n in manifest['files'] if rest or n != manifest['rest']],
    )
    space = get_search_space(manifest['search_space'])
    least = {None: 0.0} | {k: float(v.min()) for k, v in rounds.items()}
    precision = manifest['precision']
    if precision == 'fp32':
        precision = times['precision'] or precision
    settings = dict(
        search_space=space,
        shuffle=manifest['shuffle'],
        input_size=manifest['input_size'],
        batch_size=manifest['batch_size'],
        device=times['device'],
        threads=times['threads'],
        precision=precision,
        channels_last=times.get('channels_last', False),
        stem=least[manifest['stem']],
        blocks=[[least[name] for name in row] for row in manifest['blocks']],
        software=times['software'],
        rounds=times['rounds'],
        runtime=times['runtime'],
        statistic=_STATISTIC[times.get('clock', 'wall')],
        rest=least[rest] or None,
    )
    nets = manifest['nets']
    sums = LatencyTable(**settings)
    scale, check = check_predictions(
        np.array([sums.latency(space.parse(net['path'])) for net in nets]),
        np.stack([rounds[net['file']] for net in nets], axis=1),
        np.array([net['macs'] for net in nets]),
        np.array([net['is_uneven'] for net in nets]),
    )
    return LatencyTable(**settings, scale=scale, check=check)


def _read_rounds(
    times: Mapping, files: Sequence[str]
) -> dict[str, np.ndarray]:
    measured = times['times'] or {}
    missing = [name for name in files if name not in measured]
    if missing:
        raise InputError(
            f'the times of {len(missing)} of {len(files)} files are missing, '
            f'such as {missing[0]}: run run_latency.py again'
        )
    for name in files:
        values = measured[name]
        is_list = isinstance(values, list) and len(values) >= 2
        if not is_list or not all(map(_is_positive, values)):
            text = json.dumps(values)[:60]
            raise InputError(
                f'the times of {name} are not at least 2 positive numbers of '
                f'ms: {text}'
            )
    length = min(len(measured[name]) for name in files)
    return {name: np.array(measured[name][:length]) for name in files}


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf
