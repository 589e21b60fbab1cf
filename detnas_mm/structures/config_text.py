"""A searched backbone as lines of a config."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from textwrap import indent

from detnas_mm.structures.search_space import ArchPath, SearchSpace, space_name

_COLUMNS = 79
_INDENT = '    '


@dataclass(frozen=True, kw_only=True)
class SupernetSettings:
    """What a backbone takes over from the supernet that it was found in.

    Attributes:
        space: The search space.
        shuffle: Channel shuffle.
        inputs: How images were normalised, by the names that mmdet's data
            preprocessor has: ``mean``, ``std``, ``bgr_to_rgb``; ``None``
            where it is not known.
        norm_cfg: Config of the backbone's normalisation, ``None`` for the
            default. SyncBN stays SyncBN: MMEngine makes BN of it where there
            is one process, and with few images on each of several GPUs it
            matters.
        imports: Modules that register the choice blocks of an own space.
    """

    space: SearchSpace
    shuffle: str = 'grouped'
    inputs: Mapping | None = None
    norm_cfg: Mapping | None = None
    imports: Sequence[str] = ()

    @classmethod
    def from_config(
        cls,
        space: SearchSpace,
        shuffle: str,
        config: object,
        imports: Sequence[str] = (),
    ) -> 'SupernetSettings':
        """Takes them out of the config of a search.

        Args:
            space: The search space.
            shuffle: Channel shuffle.
            config: The config, or what a record has kept of it.
            imports: Modules that register the choice blocks.
        """
        if not isinstance(config, Mapping):
            return cls(space=space, shuffle=shuffle, imports=imports)
        model = _mapping(config.get('model'))
        # mmpretrain has it beside the model, mmdet in it.
        beside = _mapping(config.get('data_preprocessor'))
        norm_cfg = _mapping(_mapping(model.get('backbone')).get('norm_cfg'))
        return cls(
            space=space,
            shuffle=shuffle,
            inputs=_inputs(_mapping(model.get('data_preprocessor')) or beside),
            norm_cfg=norm_cfg or None,
            imports=imports,
        )


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _inputs(preprocessor: Mapping) -> dict:
    inputs = {
        'mean': preprocessor.get('mean'),
        'std': preprocessor.get('std'),
        # The second is its name in mmpretrain.
        'bgr_to_rgb': bool(
            preprocessor.get('bgr_to_rgb') or preprocessor.get('to_rgb')
        ),
    }
    if preprocessor.get('rgb_to_bgr'):
        inputs['rgb_to_bgr'] = True
    return inputs


def imported_modules(config: Mapping) -> list[str]:
    """Returns the modules that a config imports before all else."""
    imports = _mapping(config.get('custom_imports')).get('imports') or ()
    return [imports] if isinstance(imports, str) else list(imports)


def imports_text(modules: Sequence[str]) -> str:
    """Returns the lines that import modules; none if there are none."""
    if not modules:
        return ''
    settings = dict(imports=list(modules), allow_failed_imports=False)
    text = _text(settings, _COLUMNS, len('custom_imports = '))
    return f'custom_imports = {text}\n'


def inputs_text(inputs: Mapping) -> str:
    """Returns the ``dict(...)`` that a detector's data preprocessor takes."""
    return _dict_text(_field(*one) for one in inputs.items())


def backbone_text(supernet: SupernetSettings, path: ArchPath) -> str:
    """Returns the backbone's ``dict(...)``, to be written into a config.

    Args:
        supernet: What it was found in.
        path: The path.
    """
    space = supernet.space
    settings = {
        'type': 'detnas_mm.DetNASNet',
        'search_space': space_name(space) or space.to_dict(),
        'path': space.format_stages(path),
        'shuffle': supernet.shuffle,
    }
    if supernet.norm_cfg is not None:
        norm_cfg = supernet.norm_cfg
        # Settings of a record are sorted; a type is read first.
        names = sorted(norm_cfg, key=lambda name: name != 'type')
        settings['norm_cfg'] = {name: norm_cfg[name] for name in names}
    return _dict_text(
        [
            '_delete_=True,  # replaces the backbone of the base config',
            *(_field(*one) for one in settings.items()),
        ]
    )


def model_text(supernet: SupernetSettings, path: ArchPath) -> str:
    """Returns the ``model = dict(...)`` of a detector with the backbone.

    Before it stand the imports that the backbone needs, if any.
    """
    lines = []
    if supernet.inputs is not None:
        lines = [
            '# Images as the supernet got them.',
            f'data_preprocessor={inputs_text(supernet.inputs)},',
        ]
    channels = list(supernet.space.stage_channels)
    lines += [
        f'backbone={backbone_text(supernet, path)},',
        _field('neck', dict(in_channels=channels)),
    ]
    return f'{imports_text(supernet.imports)}model = {_dict_text(lines)}\n'


def _dict_text(lines: Iterable[str]) -> str:
    return 'dict(\n' + indent('\n'.join(lines), _INDENT) + '\n)'


def _field(name: str, value: object) -> str:
    # It may stand as deep as in the backbone of a model.
    width = _COLUMNS - 2 * len(_INDENT)
    return f'{name}={_text(value, width, len(name) + 2)},'


def _text(value: object, width: float, taken: int = 0) -> str:
    """Writes plain data as Python code, in one line if there is room.

    Args:
        value: Dicts, lists, and what ``repr`` writes.
        width: Columns of a line, without its indentation.
        taken: How many of the first line have something else in them.
    """
    if isinstance(value, Mapping) and all(map(_is_name, value)):
        start, end = 'dict(', ')'
        parts = [(f'{name}=', part) for name, part in value.items()]
    elif isinstance(value, Mapping):
        start, end = '{', '}'
        parts = [(f'{name!r}: ', part) for name, part in value.items()]
    elif isinstance(value, list):
        start, end = '[', ']'
        parts = [('', part) for part in value]
    else:
        return repr(value)
    texts = [name + _text(part, math.inf) for name, part in parts]
    line = start + ', '.join(texts) + end
    if taken + len(line) <= width or not parts:
        return line
    width -= len(_INDENT)
    lines = [
        f'{name}{_text(part, width, len(name) + 1)},' for name, part in parts
    ]
    return start + '\n' + indent('\n'.join(lines), _INDENT) + '\n' + end


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and not iskeyword(key)
