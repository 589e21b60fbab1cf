"""Evolution whose children are ranked by a model of all scores so far."""

import contextlib
import warnings
from collections.abc import Sequence

import numpy as np

from detnas_mm.search.base import (
    Fitness,
    IsLegal,
    NoLegalPathError,
    Pending,
    Proposal,
    ScoredPath,
    SearchAlgorithm,
)
from detnas_mm.search.evolution import Evolution
from detnas_mm.search.nsga2 import Costs, order_by_front
from detnas_mm.search.score_model import NoModelError, ScoreModel
from detnas_mm.structures import (
    ArchPath,
    ModelSummary,
    Origin,
    SearchSpace,
)

# The model is searched by evolution in so many rounds, each of so many new
# legal children that are found in so many draws.
ROUNDS, CHILDREN, MAX_DRAWS = 8, 200, 1_000
# Fewest of the best that go on to the next round.
MIN_KEPT = 100
# Share of random paths among them.
RANDOM_SHARE = 0.2


class SurrogateEvolution(SearchAlgorithm):
    """Evolution that draws many children and asks for the promising ones.

    The first generation is random. For each later one,
    :class:`ScoreModel` is fitted to all scores so far. Evolution that starts
    from the fittest paths searches new legal paths by what the model
    expects, and the model chooses among the best of them. Where it cannot be
    fitted, the generation is that of :class:`Evolution`.

    Args:
        num_random: Random paths in each generation, whatever the model says.
            Defaults to a tenth.
        costs: Returns the costs of a path, for several objectives.

    The other settings are those of :class:`Evolution`.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        population: int = 50,
        parents: int = 10,
        mutation_prob: float = 0.1,
        num_mutation: int | None = None,
        num_crossover: int | None = None,
        num_random: int | None = None,
        is_legal: IsLegal = lambda path: True,
        concentration: float | None = None,
        seed: int = 0,
        costs: Costs = lambda path: (),
    ) -> None:
        if num_random is None and num_mutation is num_crossover is None:
            num_random = population // 10
        self._evolution = Evolution(
            space,
            population=population,
            parents=parents,
            mutation_prob=mutation_prob,
            num_mutation=num_mutation,
            num_crossover=num_crossover,
            num_random=num_random or 0,
            is_legal=is_legal,
            concentration=concentration,
            seed=seed,
        )
        self.population = population
        self.costs = costs
        # What follows from the results so far.
        self._models: list[ScoreModel] | None = None
        self._proposed: dict[tuple, list[Proposal]] = {}

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[Fitness]
    ) -> None:
        self._evolution.tell(paths, fitnesses)
        self._models = None
        self._proposed.clear()

    @property
    def best(self) -> ScoredPath | None:
        """The fittest path with its fitness, the earliest among equals."""
        return self._evolution.best

    def propose(self, pending: Pending = ()) -> list[Proposal]:
        key = tuple(map(tuple, pending))
        if key not in self._proposed:
            self._proposed[key] = self._propose(pending)
        return self._proposed[key]

    def summarize(self, pending: Pending = ()) -> ModelSummary | None:
        """Return what the model sees, and its gain with one objective."""
        evolution, models = self._evolution, self._fit()
        fittest = evolution.fittest(evolution.parents)
        if not models or not fittest:
            return None
        paths = [item.path for item in fittest]
        gain = None
        if len(models) == 1 and not self.costs(paths[0]):
            gain = 0.0
            with contextlib.suppress(NoLegalPathError):
                asked = self.ask(pending)
                gain = models[0].expected_gain(asked, fittest[0].fitness)
        effects = [block.tolist() for block in models[0].effects(paths)]
        return ModelSummary(len(evolution.measured()), gain, effects)

    def _propose(self, pending: Pending) -> list[Proposal]:
        evolution, models = self._evolution, self._fit()
        ranked = self.population - evolution.num_random
        pool: dict[ArchPath, Origin] = {}
        if models and ranked:
            pool = self._draw_pool(models, pending)
        if len(pool) < ranked:
            return evolution.propose(pending)
        paths = list(pool)
        if len(models) == 1 and not self.costs(paths[0]):
            paths = [paths[i] for i in models[0].choose(paths, ranked)]
        proposals = [Proposal(path, pool[path]) for path in paths[:ranked]]
        proposals += evolution.draw_generation(
            [Origin.RANDOM] * evolution.num_random,
            pending=(*pending, [proposal.path for proposal in proposals]),
        )
        predicted = models[0].predict([p.path for p in proposals])
        return [
            Proposal(path, origin, float(mean), float(std))
            for (path, origin, *_), mean, std in zip(
                proposals, *predicted, strict=True
            )
        ]

    def _fit(self) -> list[ScoreModel]:
        """Fit a model to each score of the paths; none if that fails."""
        if self._models is not None:
            return self._models
        measured = self._evolution.measured()
        try:
            self._models = [
                ScoreModel(self._evolution.space, list(measured), scores)
                for scores in zip(*measured.values(), strict=True)
            ]
        except NoModelError:
            self._models = []
            # Python shows an equal warning once.
            warnings.warn(
                'the scores so far are equal or only one: no model can be '
                'fitted, and generations are those of plain evolution',
                RuntimeWarning,
                stacklevel=2,
            )
        return self._models

    def _draw_pool(
        self,
        models: Sequence[ScoreModel],
        pending: Pending,
    ) -> dict[ArchPath, Origin]:
        """Evolve new legal paths by their upper bounds.

        Returns:
            The paths with their origin, the most promising first.
        """
        evolution = self._evolution
        generation = evolution.generation + len(pending)
        rng = np.random.default_rng((evolution.seed, generation, 1))
        known = set(evolution.results).union(*pending)
        parents = [item.path for item in evolution.fittest(evolution.parents)]
        reached = np.array(
            [
                (*scores, *(-cost for cost in self.costs(path)))
                for path, scores in evolution.measured().items()
            ]
        )
        kept = max(MIN_KEPT, 4 * self.population)
        pool: list[tuple[ArchPath, Origin, tuple[float, ...]]] = []
        for _ in range(ROUNDS):
            children = self._draw_children(parents, known, rng)
            if not children:
                break
            known |= children.keys()
            bounds = [model.upper_bounds(list(children)) for model in models]
            pool += [
                (path, origin, (*at, *(-cost for cost in self.costs(path))))
                for (path, origin), *at in zip(
                    children.items(), *bounds, strict=True
                )
            ]
            points = np.array([point for *_, point in pool])
            pool = [pool[i] for i in _best_first(points, reached)[:kept]]
            parents = [path for path, *_ in pool[: evolution.parents]]
            if len(children) < CHILDREN // 4:
                break
        return {path: origin for path, origin, _ in pool}

    def _draw_children(
        self,
        parents: Sequence[ArchPath],
        known: set[ArchPath],
        rng: np.random.Generator,
    ) -> dict[ArchPath, Origin]:
        """Draw new legal children, and some random paths."""
        evolution = self._evolution
        made = evolution.num_mutation, evolution.num_crossover
        mutations = made[0] / max(sum(made), 1)
        children: dict[ArchPath, Origin] = {}
        for is_random, kind in rng.random((MAX_DRAWS, 2)):
            if is_random < RANDOM_SHARE or not parents:
                origin = Origin.RANDOM
                path = evolution.space.random_path(
                    rng, evolution.concentration
                )
            else:
                is_mutation = kind < mutations
                origin = Origin.MUTATION if is_mutation else Origin.CROSSOVER
                path = evolution.make_child(parents, origin, rng)
            if path not in known and evolution.is_legal(path):
                children.setdefault(path, origin)
            if len(children) == CHILDREN:
                break
        return children


def _best_first(points: np.ndarray, reached: np.ndarray) -> list[int]:
    """Order points by their one value, or by front beside those reached."""
    if points.shape[1] == 1:
        return np.argsort(-points[:, 0], kind='stable').tolist()
    order = order_by_front(np.vstack([points, reached]))
    return [index for index in order if index < len(points)]
