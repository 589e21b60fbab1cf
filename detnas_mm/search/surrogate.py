"""Evolution whose children are ranked by a model of all scores so far."""

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detnas_mm.search.base import Fitness, NoLegalPathError, Pending, Proposal
from detnas_mm.search.evolution import Evolution
from detnas_mm.search.nsga2 import Costs, order_by_front
from detnas_mm.search.score_model import NoModelError, ScoreModel
from detnas_mm.structures import ArchPath, ModelSummary, Origin

# The model is searched by evolution in so many rounds, each of so many new
# legal children that are found in so many draws.
ROUNDS, CHILDREN, MAX_DRAWS = 8, 200, 1_000
# Fewest of the best that go on to the next round.
MIN_KEPT = 100
# Share of random paths among them.
RANDOM_SHARE = 0.2


@dataclass(eq=False, kw_only=True)
class SurrogateEvolution(Evolution):
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

    num_random: int | None = None
    costs: Costs = lambda path: ()

    def __post_init__(self) -> None:
        if self.num_random is None:
            is_free = self.num_mutation is self.num_crossover is None
            self.num_random = self.population // 10 if is_free else 0
        super().__post_init__()
        # What follows from the results so far.
        self._models: list[ScoreModel] | None = None
        self._proposed: dict[tuple, list[Proposal]] = {}

    def tell(
        self, paths: Sequence[ArchPath], fitnesses: Sequence[Fitness]
    ) -> None:
        super().tell(paths, fitnesses)
        self._models = None
        self._proposed.clear()

    def propose(self, pending: Pending = ()) -> list[Proposal]:
        key = tuple(map(tuple, pending))
        if key not in self._proposed:
            self._proposed[key] = self._propose(pending)
        return self._proposed[key]

    def summarize(self, pending: Pending = ()) -> ModelSummary | None:
        """Return what the model sees, and its gain with one objective."""
        models, fittest = self._fit(), self.fittest(self.parents)
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
        return ModelSummary(len(self.measured()), gain, effects)

    def _propose(self, pending: Pending) -> list[Proposal]:
        models, ranked = self._fit(), self.population - self.num_random
        pool: dict[ArchPath, Origin] = {}
        if models and ranked:
            pool = self._draw_pool(models, pending)
        if len(pool) < ranked:
            return super().propose(pending)
        paths = list(pool)
        if len(models) == 1 and not self.costs(paths[0]):
            paths = [paths[i] for i in models[0].choose(paths, ranked)]
        proposals = [Proposal(path, pool[path]) for path in paths[:ranked]]
        proposals += self.draw_generation(
            [Origin.RANDOM] * self.num_random,
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
        measured = self.measured()
        try:
            self._models = [
                ScoreModel(self.space, list(measured), scores)
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
        self, models: Sequence[ScoreModel], pending: Pending
    ) -> dict[ArchPath, Origin]:
        """Evolve new legal paths by their upper bounds.

        Returns:
            The paths with their origin, the most promising first.
        """
        generation = self.generation + len(pending)
        rng = np.random.default_rng((self.seed, generation, 1))
        known = set(self.results).union(*pending)
        parents = [item.path for item in self.fittest(self.parents)]
        reached = np.array(
            [
                (*scores, *(-cost for cost in self.costs(path)))
                for path, scores in self.measured().items()
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
            parents = [path for path, *_ in pool[: self.parents]]
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
        made = self.num_mutation, self.num_crossover
        mutations = made[0] / max(sum(made), 1)
        children: dict[ArchPath, Origin] = {}
        for is_random, kind in rng.random((MAX_DRAWS, 2)):
            if is_random < RANDOM_SHARE or not parents:
                origin = Origin.RANDOM
                path = self.space.random_path(rng, self.concentration)
            else:
                is_mutation = kind < mutations
                origin = Origin.MUTATION if is_mutation else Origin.CROSSOVER
                path = self.make_child(parents, origin, rng)
            if path not in known and self.is_legal(path):
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
