"""A model of the scores of paths: a Gaussian process."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    ConstantKernel,
    DotProduct,
    Kernel,
    Matern,
    WhiteKernel,
)

from detnas_mm.structures import ArchPath, SearchSpace

# Settings of the kernel. The likeliest are taken.
LENGTH_SCALES = (1.0, 2.0, 4.0, 8.0)
NOISES = (0.003, 0.03, 0.3)
# They are fitted to so many of the fittest paths, to bound the time.
MAX_FITTED = 200
# So many draws of the scores of a generation give the gain to expect of it.
GAIN_SAMPLES = 1_000


class NoModelError(ValueError):
    """The scores do not allow to fit a model."""


class ScoreModel:
    """Predicts the scores of paths from those that were evaluated.

    The model is fitted to normal scores of the ranks: how bad the bad paths
    are does not matter. The kernel is linear, for what each choice adds by
    itself, plus Matern. Length scale and noise are those of a grid with the
    highest likelihood: an optimizer could end elsewhere on another processor.

    Raises:
        NoModelError: If fewer than two of the scores differ.
    """

    def __init__(
        self,
        space: SearchSpace,
        paths: Sequence[ArchPath],
        scores: Sequence[float],
    ) -> None:
        self.space = space
        scores = np.array(scores, dtype=float)
        different = len(np.unique(scores))
        if different < 2:
            raise NoModelError(
                f'{len(scores)} evaluated paths have {different} different '
                'scores'
            )
        targets = norm.ppf((rankdata(scores) - 0.375) / (len(scores) + 0.25))
        order = np.argsort(targets, kind='stable')
        self._targets, first = np.unique(targets, return_index=True)
        self._scores = scores[first]
        # Difference of scores for a difference of 1 between targets.
        self.scale = float(np.polyfit(targets, scores, 1)[0])
        features = path_features(space, paths)
        self._center = features.mean(axis=0)
        features = features - self._center
        size = max((features**2).sum(axis=1).mean(), 1e-12)
        linear = ConstantKernel(1 / size) * DotProduct(0.0, 'fixed')
        kernels = [
            Matern(length_scale, nu=2.5) + linear + WhiteKernel(noise)
            for length_scale, noise in product(LENGTH_SCALES, NOISES)
        ]
        fittest = order[-MAX_FITTED:]
        fits = [_fit(k, features[fittest], targets[fittest]) for k in kernels]
        best = int(np.argmax([f.log_marginal_likelihood_value_ for f in fits]))
        self._fit, self._noise = fits[best], kernels[best].k2.noise_level
        if len(fittest) < len(targets):
            self._fit = _fit(kernels[best], features, targets)

    def predict(
        self, paths: Sequence[ArchPath]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the score of each path."""
        mean, std = self._fit.predict(self._features(paths), return_std=True)
        scores = self._to_scores(mean)
        spread = self._to_scores(mean + std) - self._to_scores(mean - std)
        return scores, spread / 2

    def upper_bounds(self, paths: Sequence[ArchPath]) -> np.ndarray:
        """Return mean plus standard deviation, without the noise."""
        mean, std = self._fit.predict(self._features(paths), return_std=True)
        std = np.sqrt(np.maximum(std**2 - self._noise, 0))
        # Rounding lets equal paths stay equal.
        return self._to_scores(np.round(mean + std, 6))

    def choose(self, paths: Sequence[ArchPath], count: int) -> list[int]:
        """Choose the paths to evaluate next.

        Each has the highest upper bound, given that those before it are
        evaluated, too: that lowers the uncertainty of similar ones.

        Returns:
            Indices of ``count`` paths.
        """
        mean, covariance = self._posterior(paths)
        chosen: list[int] = []
        for _ in range(count):
            variance = np.maximum(np.diagonal(covariance), 0)
            bounds = np.round(mean + np.sqrt(variance), 6)
            bounds[chosen] = -np.inf
            index = int(np.argmax(bounds))
            chosen.append(index)
            row = covariance[index] / np.sqrt(variance[index] + self._noise)
            covariance = covariance - np.outer(row, row)
        return chosen

    def expected_gain(self, paths: Sequence[ArchPath], best: float) -> float:
        """Return by how much the best of paths exceeds a score on average."""
        targets = self._fit.sample_y(
            self._features(paths), GAIN_SAMPLES, random_state=0
        )
        gains = self._to_scores(targets.max(axis=0)) - best
        return float(np.maximum(gains, 0).mean())

    def effects(self, paths: Sequence[ArchPath]) -> list[np.ndarray]:
        """Return the effects of the choices of each block on the score.

        The effect is the mean change when the choice is put into the paths,
        compared with the mean of all choices that the block has.

        Returns:
            For each block an array of shape ``(choices, 2)`` with the effects
            and their standard deviations.
        """
        effects = []
        for block, choices in enumerate(self.space.allowed_choices):
            mean, covariance = self._posterior(
                [
                    (*path[:block], choice, *path[block + 1 :])
                    for choice in choices
                    for path in paths
                ]
            )
            weights = np.eye(len(choices)) - 1 / len(choices)
            weights = weights.repeat(len(paths), axis=1)
            weights *= self.scale / len(paths)
            variances = np.diag(weights @ covariance @ weights.T)
            deviations = np.sqrt(np.maximum(variances, 0))
            effects.append(np.column_stack([weights @ mean, deviations]))
        return effects

    def _posterior(
        self, paths: Sequence[ArchPath]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of the targets, without the noise."""
        mean, covariance = self._fit.predict(
            self._features(paths), return_cov=True
        )
        covariance[np.diag_indices_from(covariance)] -= self._noise
        return mean, covariance

    def _to_scores(self, targets: np.ndarray) -> np.ndarray:
        """Map targets to scores; beyond the highest and lowest linearly."""
        inside = np.clip(targets, self._targets[0], self._targets[-1])
        scores = np.interp(inside, self._targets, self._scores)
        return scores + (targets - inside) * self.scale

    def _features(self, paths: Sequence[ArchPath]) -> np.ndarray:
        return path_features(self.space, paths) - self._center


def path_features(space: SearchSpace, paths: Sequence[ArchPath]) -> np.ndarray:
    """Return the features of paths, of shape ``(N, features)``.

    They are the choice of each block, and the number of times that each stage
    has each choice, which is depth, width and kernels where choices differ in
    them.
    """
    taken = np.eye(space.num_choices)[np.asarray(paths)]
    stages = np.array([block.stage for block in space.blocks])
    counts = [taken[:, stages == s].sum(axis=1) for s in np.unique(stages)]
    return np.hstack([taken.reshape(len(taken), -1), *counts])


def _fit(
    kernel: Kernel, features: np.ndarray, targets: np.ndarray
) -> GaussianProcessRegressor:
    model = GaussianProcessRegressor(kernel, optimizer=None)
    return model.fit(features, targets)
