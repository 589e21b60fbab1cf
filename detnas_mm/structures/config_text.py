"""A searched backbone as lines of a config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent

from .search_space import Path, SearchSpace, space_name


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
    return (
        f'custom_imports = dict(\n    imports={list(modules)!r}, '
        'allow_failed_imports=False)\n'
    )


def inputs_text(inputs: Mapping) -> str:
    """Returns the ``dict(...)`` that a detector's data preprocessor takes."""
    return _dict_text([f'{name}={inputs[name]!r},' for name in inputs])


def backbone_text(supernet: SupernetSettings, path: Path) -> str:
    """Returns the backbone's ``dict(...)``, to be written into a config.

    Args:
        supernet: What it was found in.
        path: The path.
    """
    space = supernet.space
    settings = {
        'search_space': space_name(space) or space.to_dict(),
        'path': space.format_stages(path),
        'shuffle': supernet.shuffle,
    }
    lines = [
        '_delete_=True,  # replaces the backbone of the base config',
        "type='detnas_mm.DetNASNet',",
        *(f'{name}={value!r},' for name, value in settings.items()),
    ]
    if supernet.norm_cfg is not None:
        lines.append(f'norm_cfg={_short_dict_text(supernet.norm_cfg)},')
    return _dict_text(lines)


def model_text(supernet: SupernetSettings, path: Path) -> str:
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
        f'neck=dict(in_channels={channels}),',
    ]
    return f'{imports_text(supernet.imports)}model = {_dict_text(lines)}\n'


def _dict_text(lines: list[str]) -> str:
    return 'dict(\n' + indent('\n'.join(lines), '    ') + '\n)'


def _short_dict_text(settings: Mapping) -> str:
    """Writes settings in one line, their type first."""
    if not all(str(name).isidentifier() for name in settings):
        return repr(dict(settings))
    names = sorted(settings, key=lambda name: name != 'type')
    return f'dict({", ".join(f"{n}={settings[n]!r}" for n in names)})'
