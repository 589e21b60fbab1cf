"""A searched backbone as lines of a config."""

from textwrap import indent

from .search_space import Path, SearchSpace, space_name


def backbone_text(space: SearchSpace, path: Path, shuffle: str) -> str:
    """Returns the backbone's ``dict(...)``, to be written into a config.

    Args:
        space: The search space.
        path: The path.
        shuffle: Channel shuffle of the supernet.
    """
    settings = {
        'search_space': space_name(space) or space.to_dict(),
        'path': space.format_stages(path),
        'shuffle': shuffle,
    }
    lines = [f'{name}={value!r},' for name, value in settings.items()]
    return '\n'.join(
        [
            'dict(',
            '    _delete_=True,  # replaces the backbone of the base config',
            "    type='detnas_mm.DetNASNet',",
            indent('\n'.join(lines), '    '),
            ')',
        ]
    )


def model_text(space: SearchSpace, path: Path, shuffle: str) -> str:
    """Returns the ``model = dict(...)`` of a detector with the backbone."""
    backbone = indent(backbone_text(space, path, shuffle), '    ').lstrip()
    channels = list(space.stage_channels)
    return (
        f'model = dict(\n    backbone={backbone},\n'
        f'    neck=dict(in_channels={channels}),\n)\n'
    )
