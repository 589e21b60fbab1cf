"""Files that a search leaves beside its record."""

import json
from collections.abc import Sequence
from pathlib import Path

from detnas_mm.structures import (
    Candidate,
    SearchSpace,
    space_name,
)
from detnas_mm.structures.config_text import backbone_text
from detnas_mm.structures.files import write_atomically

BEST = 'best.json'
BEST_BACKBONE = 'best_backbone.py'
_BACKBONE_CONFIG = """\
# Backbone found by a search: {metric} {fitness:.4f} on the search split,
# {macs:.1f}M multiply-adds, {params:.2f}M parameters (backbone only).
#
# Use it in any mmdet config by adding this file to its bases:
#
#   _base_ = ['mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
#             'path/to/best_backbone.py']
#   model = dict(
#       backbone=_base_.searched_backbone,
#       neck=dict(in_channels=_base_.searched_out_channels))
{imports}searched_backbone = {backbone}
searched_out_channels = {channels!r}
"""


def write_results(
    work_dir: str | Path,
    best: Candidate,
    space: SearchSpace,
    metric: str,
    shuffle: str,
    imports: str | Sequence[str] = (),
) -> None:
    """Writes ``best.json`` and ``best_backbone.py``.

    Args:
        work_dir: The work dir of the search.
        best: The fittest candidate.
        space: The search space.
        metric: Key of the metric that is the fitness.
        shuffle: Channel shuffle of the supernet.
        imports: Modules that register the choice blocks of an own space.
    """
    result = {
        'search_space': space_name(space) or space.to_dict(),
        'metric': metric,
        'shuffle': shuffle,
        **best.to_dict(),
    }
    config = _BACKBONE_CONFIG.format(
        imports=_custom_imports(imports),
        metric=metric,
        fitness=best.fitness,
        macs=best.macs / 1e6,
        params=best.params / 1e6,
        backbone=backbone_text(space, space.parse(best.path), shuffle),
        channels=list(space.stage_channels),
    )
    work_dir = Path(work_dir)
    write_atomically(work_dir / BEST, json.dumps(result, indent=2) + '\n')
    write_atomically(work_dir / BEST_BACKBONE, config)


def _custom_imports(modules: str | Sequence[str]) -> str:
    if not modules:
        return ''
    if isinstance(modules, str):
        modules = [modules]
    return (
        f'custom_imports = dict(\n    imports={list(modules)!r}, '
        'allow_failed_imports=False)\n'
    )


def remove_results(work_dir: str | Path) -> None:
    """Removes what :func:`write_results` wrote."""
    for name in (BEST, BEST_BACKBONE):
        (Path(work_dir) / name).unlink(missing_ok=True)
