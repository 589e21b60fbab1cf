"""How long the steps of a project take, and what fits into a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

# The paper's epochs on VOC (22.5k iterations of 16 of 11,551 images), and
# how they fall with the number of images up to COCO (12.7 of 113,287).
_EPOCHS, _IMAGES, _FALL = 31, 11_551, 0.39
# Share of a budget for the search, and the fewest iterations.
_SEARCH, _FEWEST = 0.18, 20
_FACTORS = (1.0, 0.75, 0.5)
# With fewer epochs, smaller images pay; with fewer candidates, BN statistics
# from fewer images.
_FEWEST_EPOCHS, _FEWEST_CANDIDATES, _FEWER_IMAGES = 40, 60, (128, 64)
# Nine boxes in ten stay wider than this, in pixels.
_SMALLEST_BOX = 8


@dataclass(frozen=True)
class Plan:
    """The numbers of a project that cost time."""

    space: str  # name of the search space
    factor: float  # of the usual size of images
    is_light: bool  # whether neck and heads are small
    batch_size: int  # on all GPUs together
    iterations: int  # of the supernet
    generations: int
    population: int
    calibration: int  # images for the BN statistics of a candidate
    top: int  # candidates that are trained, beside two other networks
    seeds: int  # trainings of each of them
    share: float = 0.25  # of the iterations, for each training


@dataclass(frozen=True)
class Timing:
    """Measured seconds: of an iteration, of an image of a candidate's BN
    statistics and of its score, and of the start of a command; and the factor
    of the size of images with which they were measured.
    """

    iteration: float
    calibration: float
    inference: float
    start: float
    factor: float

    def at(self, factor: float) -> 'Timing':
        """Return the times for another size, in proportion to the pixels."""
        times = self.iteration, self.calibration, self.inference
        more = (factor / self.factor) ** 2
        return Timing(*(time * more for time in times), self.start, factor)

    def candidate(self, plan: Plan, counts: Mapping[str, int]) -> float:
        """Return the seconds of a candidate."""
        calibration = plan.calibration * self.calibration
        return calibration + counts['search'] * self.inference


def full_plan(
    counts: Mapping[str, int], seeds: int, has_weights: bool
) -> Plan:
    """Return the paper's plan for the number of images of each part.

    From random weights the supernet is trained twice as long, as there.
    """
    images = counts['train']
    epochs = _EPOCHS * (_IMAGES / images) ** _FALL * (2 - has_weights)
    batch_size = 16 if images >= 160 else 8
    return Plan(
        space='small',
        factor=1.0,
        is_light=False,
        batch_size=batch_size,
        iterations=max(round(epochs * images / batch_size), 1000),
        generations=20,
        population=50,
        calibration=min(500, images),
        top=4,
        seeds=seeds,
    )


def smallest_factor(sides: float) -> float:
    """Return the smallest factor for boxes of which a tenth is narrower."""
    allowed = [f for f in _FACTORS if f * sides >= _SMALLEST_BOX]
    return min(allowed, default=1.0)


def fit_plan(
    full: Plan,
    timing: Timing,
    counts: Mapping[str, int],
    seconds: float,
    gpus: int = 1,
) -> Plan:
    """Return the plan that takes about ``seconds``.

    Images are as large as leaves enough epochs, and BN statistics come from
    as many images as leave enough candidates. GPUs work side by side.
    """
    rounds = _rounds(full, gpus)
    for factor in (f for f in _FACTORS if f >= timing.factor):
        times = timing.at(factor)
        # Scores, tests, and starts of commands.
        empty = replace(full, factor=factor, iterations=0, generations=0)
        fixed = sum(step_seconds(empty, timing, counts, gpus).values())
        training = (1 - _SEARCH) * seconds - fixed
        iterations = training / (1 + full.share * rounds) / times.iteration
        iterations = min(max(int(iterations), _FEWEST), full.iterations)
        if iterations * full.batch_size / counts['train'] >= _FEWEST_EPOCHS:
            break
    for calibration in (full.calibration, *_FEWER_IMAGES):
        calibration = min(calibration, full.calibration)
        plan = replace(full, factor=factor, calibration=calibration)
        candidate = times.candidate(plan, counts) / gpus
        candidates = min(int(_SEARCH * seconds / candidate), 1000)
        if candidates >= _FEWEST_CANDIDATES:
            break
    population = min(max(candidates // 5, 4), 50)
    return replace(
        plan,
        iterations=iterations,
        population=population,
        generations=max(candidates // population, 2),
    )


def step_seconds(
    plan: Plan, timing: Timing, counts: Mapping[str, int], gpus: int
) -> dict[str, float]:
    """Return the seconds of each step, with GPUs that work side by side."""
    timing = timing.at(plan.factor)
    training = plan.iterations * timing.iteration
    validation = counts['search'] * timing.inference + timing.start
    candidates = plan.generations * plan.population
    rounds = _rounds(plan, gpus)
    test = counts['test'] * timing.inference + timing.start
    return {
        'supernet': training + validation,
        'search': candidates * timing.candidate(plan, counts) / gpus,
        'finalists': rounds * (plan.share * training + validation),
        'verdict': 3 * plan.seeds * test,
    }


def _rounds(plan: Plan, gpus: int) -> int:
    """Return the trainings on one GPU: a network with all its seeds."""
    return -(-(plan.top + 2) // gpus) * plan.seeds
