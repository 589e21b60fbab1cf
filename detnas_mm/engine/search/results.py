"""Files that a search writes beside its record."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mmengine.logging import print_log
from mmengine.runner import Runner

from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.models import DetNASSupernet
from detnas_mm.structures import (
    MODEL,
    Candidate,
    ModelSummary,
    pareto_front,
    space_name,
)
from detnas_mm.structures.config_text import (
    SupernetSettings,
    as_text,
    backbone_text,
    imported_modules,
    imports_text,
)
from detnas_mm.utils.files import write_atomically

BEST = 'best.json'
BEST_BACKBONE = 'best_backbone.py'
FRONT = 'front.json'
FRONT_FOLDER = 'front'
_BACKBONE_CONFIG = """\
# Backbone found by a search: {metric} {fitness:.4f} on the search split,
# {macs:.1f}M multiply-adds, {params:.2f}M parameters (backbone only).
#
# Use it in an mmdet config by adding this file to its bases. Paths of bases
# begin at the folder of the config that names them:
#
#   _base_ = ['mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
#             'path/to/this_file.py']
#   model = dict(
#       data_preprocessor=_base_.searched_data_preprocessor,
#       backbone=_base_.searched_backbone,
#       neck=dict(in_channels=_base_.searched_out_channels))
#
# This fits necks that take four feature maps, of strides 4 to 32, as any FPN.
# For necks that take three, of strides 8 to 32 (YOLOX, RTMDet, DINO), write
#
#       backbone=dict(**_base_.searched_backbone, out_indices=(1, 2, 3)),
#       neck=dict(in_channels=_base_.searched_out_channels[1:]))
{imports}searched_backbone = {backbone}
searched_out_channels = {channels!r}
"""
_INPUTS = """\
# Normalization of the images that the supernet was trained on. Other values
# make pre-trained weights useless, and no error is raised.
searched_data_preprocessor = {inputs}
"""


@dataclass(frozen=True, kw_only=True)
class SearchResults:
    """Writes what a search found into its work dir.

    Without objectives beside the fitness there is no Pareto front.
    """

    work_dir: Path
    supernet: SupernetSettings
    settings: SearchSettings

    def write_best(self, best: Candidate) -> None:
        """Writes ``best.json`` and ``best_backbone.py``."""
        self._write_json(BEST, self._result(best))
        write_atomically(self.work_dir / BEST_BACKBONE, self._config(best))

    def write_model(self, summary: ModelSummary | None) -> None:
        """Writes ``model.json``, if the algorithm has a model."""
        if summary is not None:
            self._write_json(MODEL, asdict(summary))

    def write_front(self, candidates: Sequence[Candidate]) -> None:
        """Writes ``front.json`` and the folder ``front``, if there is one.

        The folder has a JSON file and a config of each point, named by its
        path. They are written before the list that names them.
        """
        settings = self.settings
        if not settings.objectives:
            return
        front = pareto_front(candidates, settings.objectives)
        folder = self.work_dir / FRONT_FOLDER
        folder.mkdir(exist_ok=True)
        for candidate in front:
            self._write_point(folder / candidate.path, candidate)
        self._write_json(FRONT, [self._result(c) for c in front])
        paths = {candidate.path for candidate in front}
        for file in folder.iterdir():
            if file.is_file() and file.stem not in paths:
                file.unlink()
        print_log(
            f'Pareto front: {len(front)} of {len(candidates)} candidates, see '
            f'{FRONT} in {self.work_dir}',
            logger='current',
        )

    def remove(self) -> None:
        """Removes all of these files."""
        for name in (BEST, BEST_BACKBONE, FRONT, MODEL):
            (self.work_dir / name).unlink(missing_ok=True)
        shutil.rmtree(self.work_dir / FRONT_FOLDER, ignore_errors=True)

    def _write_point(self, file: Path, candidate: Candidate) -> None:
        """Writes the files of a point, which never change."""
        config = file.with_suffix('.py')
        if not config.exists():
            name = str(file.with_suffix('.json').relative_to(self.work_dir))
            self._write_json(name, self._result(candidate))
            write_atomically(config, self._config(candidate))

    def _write_json(self, name: str, content: dict | list) -> None:
        text = json.dumps(content, indent=2) + '\n'
        write_atomically(self.work_dir / name, text)

    def _result(self, candidate: Candidate) -> dict:
        space = self.supernet.space
        return {
            'search_space': space_name(space) or space.to_dict(),
            'metric': self.settings.metric,
            'shuffle': self.supernet.shuffle,
            **candidate.to_dict(),
        }

    def _config(self, candidate: Candidate) -> str:
        space = self.supernet.space
        text = _BACKBONE_CONFIG.format(
            imports=imports_text(self.supernet.imports),
            metric=self.settings.metric,
            fitness=candidate.fitness,
            macs=candidate.macs / 1e6,
            params=candidate.params / 1e6,
            backbone=backbone_text(self.supernet, space.parse(candidate.path)),
            channels=list(space.stage_channels),
        )
        if self.supernet.inputs is None:
            return text
        return text + _INPUTS.format(inputs=as_text(self.supernet.inputs))


def build_results(
    runner: Runner, supernet: DetNASSupernet, settings: SearchSettings
) -> SearchResults:
    """Builds what writes the results of a search."""
    config = runner.cfg.to_dict()
    return SearchResults(
        work_dir=Path(runner.work_dir),
        supernet=SupernetSettings.from_config(
            supernet.search_space,
            supernet.shuffle,
            config,
            imported_modules(config),
        ),
        settings=settings,
    )
