"""A searched backbone as lines of a config.

The lines are valid Python that MMEngine's ``Config`` reads back; writing them
needs no MMEngine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from textwrap import indent

from detnas_mm.structures.search_space import ArchPath, SearchSpace, space_name

# Settings of a dict stand in one line up to this length.
_ONE_LINE = 60


@dataclass(frozen=True, kw_only=True)
class SupernetSettings:
    """Settings of the supernet that a searched backbone keeps.

    Attributes:
        space: The search space.
        shuffle: Channel shuffle.
        inputs: Normalization of the images, by the names that mmdet's data
            preprocessor uses (``mean``, ``std``, ``bgr_to_rgb``); ``None`` if
            unknown.
        norm_cfg: Config of the backbone's normalization, ``None`` for the
            default. SyncBN is kept: with few images per GPU it matters, and
            MMEngine converts it to BN in a single process.
        imports: Modules that register custom choice blocks.
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
        """Read the settings from the config of a search.

        ``config`` may be the part of the config that a record keeps.
        """
        if not isinstance(config, Mapping):
            return cls(space=space, shuffle=shuffle, imports=imports)
        model = _mapping(config.get('model'))
        # mmdet has it in the model, mmpretrain beside the model.
        preprocessor = _mapping(model.get('data_preprocessor')) or _mapping(
            config.get('data_preprocessor')
        )
        inputs = {
            'mean': preprocessor.get('mean'),
            'std': preprocessor.get('std'),
            # mmpretrain's name is `to_rgb`.
            'bgr_to_rgb': bool(
                preprocessor.get('bgr_to_rgb') or preprocessor.get('to_rgb')
            ),
        }
        if preprocessor.get('rgb_to_bgr'):
            inputs['rgb_to_bgr'] = True
        norm_cfg = _mapping(_mapping(model.get('backbone')).get('norm_cfg'))
        return cls(
            space=space,
            shuffle=shuffle,
            inputs=inputs,
            norm_cfg=norm_cfg or None,
            imports=imports,
        )


def imported_modules(config: Mapping) -> list[str]:
    """Return the modules in ``custom_imports`` of a config."""
    imports = _mapping(config.get('custom_imports')).get('imports') or ()
    return [imports] if isinstance(imports, str) else list(imports)


def imports_text(modules: Sequence[str]) -> str:
    """Return ``custom_imports = ...``, or nothing if there are no modules."""
    if not modules:
        return ''
    settings = dict(imports=list(modules), allow_failed_imports=False)
    return f'custom_imports = {as_text(settings)}\n'


def backbone_text(supernet: SupernetSettings, path: ArchPath) -> str:
    """Return ``dict(...)`` of the backbone of a path."""
    return as_text(_backbone(supernet, path))


def model_text(supernet: SupernetSettings, path: ArchPath) -> str:
    """Return the lines for the config of a detector with this backbone."""
    model = {}
    comment = '# `_delete_` replaces the backbone of the base config.\n'
    if supernet.inputs is not None:
        model['data_preprocessor'] = supernet.inputs
        comment += '# Images are normalized as they were for the supernet.\n'
    model['backbone'] = _backbone(supernet, path)
    model['neck'] = dict(in_channels=list(supernet.space.stage_channels))
    imports = imports_text(supernet.imports)
    return f'{imports}{comment}model = {as_text(model)}\n'


def _backbone(supernet: SupernetSettings, path: ArchPath) -> dict:
    space = supernet.space
    backbone = {
        '_delete_': True,
        'type': 'detnas_mm.DetNASNet',
        'search_space': space_name(space) or space.to_dict(),
        'path': space.format_stages(path),
        'shuffle': supernet.shuffle,
    }
    if supernet.norm_cfg is not None:
        # The keys of a record are sorted; the type is read first.
        names = sorted(supernet.norm_cfg, key=lambda name: name != 'type')
        backbone['norm_cfg'] = {
            name: supernet.norm_cfg[name] for name in names
        }
    return backbone


def _mapping(value: object) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def as_text(value: object) -> str:
    """Return a value as Python; mappings as ``dict(...)``."""
    if not isinstance(value, Mapping) or not all(map(_is_name, value)):
        return repr(value)
    settings = [f'{name}={as_text(part)}' for name, part in value.items()]
    line = f'dict({", ".join(settings)})'
    if len(line) <= _ONE_LINE and '\n' not in line:
        return line
    return 'dict(\n' + indent(',\n'.join(settings), '    ') + ',\n)'


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and not iskeyword(key)
