"""Scores of earlier searches that a search takes over."""

import json
from collections.abc import Sequence
from dataclasses import replace

from detnas_mm.cost import Constraint
from detnas_mm.engine.search.settings import SearchSettings
from detnas_mm.structures import (
    ArchPath,
    Candidate,
    Origin,
    SearchHeader,
    SearchRecord,
    Status,
    metrics_among,
)
from detnas_mm.utils.errors import InputError
from detnas_mm.utils.files import text_digest


def read_reused(
    settings: SearchSettings, header: SearchHeader, constraint: Constraint
) -> list[Candidate]:
    """Reads the candidates that a search takes over.

    Those that break its bounds are only told to its algorithm. A path that
    occurs twice is taken from the first record.

    Raises:
        InputError: If a record is not there, or its scores are not those that
            this search would measure.
    """
    taken: dict[ArchPath, Candidate] = {}
    for file in settings.reuse:
        for candidate in _read_scored(file, settings, header):
            path = constraint.space.parse(candidate.path)
            taken.setdefault(path, candidate)
    return [
        Candidate(
            index=number - len(taken),
            generation=-1,
            origin=Origin.REUSED,
            path=candidate.path,
            macs=constraint.table.macs(path),
            params=constraint.table.params(path),
            fitness=candidate.fitness,
            metrics=candidate.metrics,
            status='complete' if constraint.is_legal(path) else 'outside',
            latency=constraint.latency(path),
        )
        for number, (path, candidate) in enumerate(taken.items())
    ]


def with_reused(
    header: SearchHeader, reused: Sequence[Candidate]
) -> SearchHeader:
    """Adds to a header what the search has taken over."""
    if not reused:
        return header
    scores = json.dumps([[c.path, c.fitness] for c in reused])
    settings = dict(candidates=len(reused), digest=text_digest(scores))
    return replace(header, algorithm={**header.algorithm, 'reuse': settings})


def _read_scored(
    file: str, settings: SearchSettings, header: SearchHeader
) -> list[Candidate]:
    earlier = SearchRecord.read(file)
    difference = earlier.header.scoring_difference(header)
    scored = [c for c in earlier.candidates if c.status is not Status.FAILED]
    if not scored:
        difference = difference or 'it has none'
    for name in metrics_among(settings.objectives):
        if not all(name in c.metrics for c in scored):
            difference = difference or f'they lack the objective {name}'
    if difference is not None:
        raise InputError(
            f'the scores of {earlier.path}, by {earlier.header.checkpoint}, '
            f'cannot be reused: {difference}; give records of the same '
            'supernet, metrics, search split and calibration'
        )
    return scored
