"""What a search tells while it runs."""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from mmengine.visualization import Visualizer

from detnas_mm.structures import Candidate, SearchSpace, Status


class SearchProgress:
    """Logs a line for each candidate and a summary of each generation.

    The same numbers go to the visualizer, and so to TensorBoard or whatever
    else is among its ``vis_backends``. The step is the number of the
    candidate, also after a resume.

    Args:
        logger: The logger of the runner.
        visualizer: The visualizer of the runner.
        space: The search space.
        total: Number of candidates of the whole search.
        metric: Key of the metric that is the fitness.
        done: Number of candidates that are already in the record.
        work_dir: Where the results are.
    """

    def __init__(
        self,
        logger: logging.Logger,
        visualizer: Visualizer,
        space: SearchSpace,
        *,
        total: int,
        metric: str,
        done: int,
        work_dir: str,
    ) -> None:
        self.logger = logger
        self.visualizer = visualizer
        self.space = space
        self.total = total
        self.metric = metric
        self.done_before = done
        self.work_dir = work_dir
        self.charts_failed = False
        self.start = time.perf_counter()
        if done:
            logger.info(
                f'Resume the search: {done} of {total} candidates are in the '
                'record'
            )

    def report(self, candidate: Candidate, best: Candidate | None) -> None:
        """Tells of a candidate that was just evaluated, with the time left.

        Args:
            candidate: The candidate.
            best: The fittest one so far, if there is any.
        """
        path = self.space.format_stages(self.space.parse(candidate.path))
        outcome = self._outcome(candidate)
        best_text = f'best {best.fitness:.4f}' if best else 'none yet'
        width = len(str(self.total))
        self.logger.info(
            f'Search [{candidate.index + 1:{width}}/{self.total}]  '
            f'gen {candidate.generation}  {path}  '
            f'{candidate.macs / 1e6:.1f}M  {_latency(candidate, "  ")}'
            f'{outcome}  {best_text}  '
            f'{candidate.seconds:.1f} s  left {self._time_left(candidate)}'
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
        """Tells what a generation of candidates brought."""
        scores = [
            candidate.fitness
            for candidate in candidates
            if candidate.status is Status.COMPLETE
        ]
        statuses = [candidate.status for candidate in candidates]
        others = ''.join(
            f', {statuses.count(status)} {status.value}'
            for status in (Status.FAILED, Status.DROPPED)
            if status in statuses
        )
        if not scores:
            self.logger.warning(
                f'Generation {generation}: none was scored to the end{others}'
            )
            return
        mean = sum(scores) / len(scores)
        self.logger.info(
            f'Generation {generation}: {self.metric} {min(scores):.4f} to '
            f'{max(scores):.4f}, mean {mean:.4f}' + others
        )
        scalars = {
            'generation': generation,
            'generation_min': min(scores),
            'generation_mean': mean,
            'generation_max': max(scores),
            'generation_failed': statuses.count(Status.FAILED),
            'generation_dropped': statuses.count(Status.DROPPED)
            if any(candidate.rungs for candidate in candidates)
            else None,
        }
        self._visualize(scalars, candidates[-1].index)

    def finish(self, best: Candidate) -> None:
        """Logs the result and where it is."""
        path = self.space.format_stages(self.space.parse(best.path))
        self.logger.info(
            f'Search done. Best path {path}: {self.metric} '
            f'{best.fitness:.4f}, {best.macs / 1e6:.1f}M MACs, '
            f'{_latency(best, ", ")}{best.params / 1e6:.2f}M params '
            f'(backbone). See best.json and best_backbone.py in '
            f'{self.work_dir}'
        )

    def _outcome(self, candidate: Candidate) -> str:
        if candidate.status is Status.COMPLETE:
            return f'{self.metric} {candidate.fitness:.4f}'
        if candidate.status is Status.FAILED:
            return f'failed: {candidate.error}'
        images, score = candidate.rungs[-1]
        return f'dropped after {images} images: {score:.4f}'

    def _visualize(
        self, scalars: Mapping[str, float | None], step: int
    ) -> None:
        known = {
            f'search/{name}': value
            for name, value in scalars.items()
            if value is not None
        }
        try:
            self.visualizer.add_scalars(known, step=step)
        except OSError as error:
            if not self.charts_failed:
                self.charts_failed = True
                self.logger.warning(
                    f'Cannot write the numbers for charts ({error}); the '
                    'search goes on, its record has them all'
                )

    def _time_left(self, candidate: Candidate) -> timedelta:
        evaluated = candidate.index + 1 - self.done_before
        mean = (time.perf_counter() - self.start) / evaluated
        left = self.total - candidate.index - 1
        return timedelta(seconds=round(mean * left))


def _latency(candidate: Candidate, end: str) -> str:
    """Returns the predicted latency, where there is one."""
    if candidate.latency is None:
        return ''
    return f'{candidate.latency:.1f} ms{end}'
