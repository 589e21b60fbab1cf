"""What a search logs while it runs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta

from mmengine.runner import Runner

from detnas_mm.structures import Candidate, ModelSummary, SearchSpace, Status


@dataclass(eq=False)
class SearchProgress:
    """Logs a line for each candidate and a summary of each generation.

    The same numbers go to the visualizer, and so to TensorBoard or any other
    of its ``vis_backends``. The step is the index of the candidate, also
    after a resume.

    Args:
        runner: The runner, with its logger and visualizer.
        space: The search space.
        metric: Key of the metric that is the fitness.
        total: Number of candidates of the whole search.
        done: Number of candidates that are in the record already.
    """

    runner: Runner
    space: SearchSpace
    _: KW_ONLY
    metric: str
    total: int
    done: int

    def __post_init__(self) -> None:
        self.logger = self.runner.logger
        self.done_before = self.done
        self.charts_failed = False
        self.start = time.perf_counter()
        if self.done:
            self.logger.info(
                f'Resume the search: {self.done} of {self.total} candidates '
                'are in the record'
            )

    def report(self, candidate: Candidate, best: Candidate | None) -> None:
        """Logs a candidate that has finished, the best, and the time left."""
        self.done += 1
        path = self.space.format_stages(self.space.parse(candidate.path))
        complete = candidate.status is Status.COMPLETE
        outcome = (
            f'{self.metric} {candidate.fitness:.4f}'
            if complete
            else f'failed: {candidate.error}'
        )
        best_text = f'best {best.fitness:.4f}' if best else 'none yet'
        width = len(str(self.total))
        self.logger.info(
            f'Search [{self.done:{width}}/{self.total}]  '
            f'gen {candidate.generation}  {path}  '
            f'{candidate.macs / 1e6:.1f}M  {_latency(candidate, "  ")}'
            f'{outcome}  {best_text}  '
            f'{candidate.seconds:.1f} s  left {self._time_left()}'
        )
        scalars = {
            'fitness': candidate.fitness,
            'best': best.fitness if best else None,
            'macs': candidate.macs,
            'params': candidate.params,
            'seconds': candidate.seconds,
        }
        for part, seconds in candidate.seconds_by_part.items():
            scalars[f'seconds_{part}'] = seconds
        self._visualize(scalars, candidate.index)

    def report_generation(
        self, generation: int, candidates: Sequence[Candidate]
    ) -> None:
        """Logs the scores of a generation."""
        scores = [
            candidate.fitness
            for candidate in candidates
            if candidate.status is Status.COMPLETE
        ]
        num_failed = len(candidates) - len(scores)
        failed = f', {num_failed} failed' if num_failed else ''
        if not scores:
            self.logger.warning(f'Generation {generation}: all failed')
            return
        mean = sum(scores) / len(scores)
        self.logger.info(
            f'Generation {generation}: {self.metric} {min(scores):.4f} to '
            f'{max(scores):.4f}, mean {mean:.4f}{failed}'
        )
        scalars = {
            'generation': generation,
            'generation_min': min(scores),
            'generation_mean': mean,
            'generation_max': max(scores),
            'generation_failed': num_failed,
        }
        self._visualize(scalars, candidates[-1].index)

    def finish(self, best: Candidate, model: ModelSummary | None) -> None:
        """Logs the result, where it is, and what a model expects of more."""
        if model is not None and model.gain is not None:
            self.logger.info(
                'The model of the scores expects that one more generation '
                f'raises the best {self.metric} by {model.gain:.4f} on average'
            )
        path = self.space.format_stages(self.space.parse(best.path))
        self.logger.info(
            f'Search done. Best path {path}: {self.metric} '
            f'{best.fitness:.4f}, {best.macs / 1e6:.1f}M MACs, '
            f'{_latency(best, ", ")}{best.params / 1e6:.2f}M params '
            f'(backbone). See best.json and best_backbone.py in '
            f'{self.runner.work_dir}'
        )

    def _visualize(
        self, scalars: Mapping[str, float | None], step: int
    ) -> None:
        known = {
            f'search/{name}': value
            for name, value in scalars.items()
            if value is not None
        }
        try:
            self.runner.visualizer.add_scalars(known, step=step)
        except OSError as error:
            if not self.charts_failed:
                self.charts_failed = True
                self.logger.warning(
                    f'Cannot write the numbers for charts ({error}); the '
                    'search continues, its record has them all'
                )

    def _time_left(self) -> timedelta:
        passed = time.perf_counter() - self.start
        mean = passed / (self.done - self.done_before)
        return timedelta(seconds=round(mean * (self.total - self.done)))


def _latency(candidate: Candidate, end: str) -> str:
    """Returns the predicted latency, where there is one."""
    if candidate.latency is None:
        return ''
    return f'{candidate.latency:.2f} ms{end}'
