"""What is seen of single models, as linear observations of their standings, with learned noise.

A metric k of model i on a task, in units of the spread s_k that it has over the models there, is

    m_ik / s_k = level_k + g_k y_i + e_ik,   e_i ~ N(0, C),

gain g and noise C learned on source datasets with known accuracies; metrics of one model err
together, which C holds. One model's metrics are worth the one value that weighs them by C^-1 g. A
spread that only a few looked-at models show is drawn towards what it was on the source datasets.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from spider_jax.belief.disagreement import Disagreement, disagreement
from spider_jax.belief.gaussian import Observation, Posterior

LEAST_NOISE = 0.01
UNKNOWN_GAIN = 0.9  # of a metric that cannot be compared with truth or two other metrics
LEAST_FREEDOM = 3.0  # degrees of freedom of a spread
FEWEST_TRUE = 3  # datasets with known accuracies from which noise is learned


class Spread(NamedTuple):
    """How far values of one kind spread over the models of a task.

    Attributes:
        size: typical standard deviation.
        worth: so many observed models count as much as what is typical.
    """

    size: float
    worth: float

    @staticmethod
    def of(sizes: Float[np.ndarray, " G"]) -> "Spread":
        """From the standard deviations on G datasets: ln s ~ N, var(ln s^2) = 2/worth."""
        known = sizes[np.isfinite(sizes) & (sizes > 0)]
        if len(known) == 0:
            return Spread(1.0, 0.0)
        logs = np.log(known)
        varies = float(logs.var(ddof=1)) if len(logs) > 1 else 0.5
        return Spread(float(np.exp(logs.mean())), 1 / max(2 * varies, 0.05))

    def seen(self, values: Float[np.ndarray, " p"], expected: float) -> float:
        """The spread on a task of which p models' values are known.

        Args:
            values: of the p models.
            expected: variance that p such models should have in standard units.
        """
        p = len(values)
        if p < 2:
            return self.size
        found = float(np.var(values, ddof=1)) / max(expected, 1e-6)
        return float(np.sqrt((self.worth * self.size**2 + (p - 1) * found) / (self.worth + p - 1)))


class MetricNoise(NamedTuple):
    """How K metrics show a standing.

    Attributes:
        gain: g.
        noise: C.
        size: typical standard deviation of each metric over the models of a task.
        worth: see `Spread`.
    """

    gain: Float64[np.ndarray, " K"]
    noise: Float64[np.ndarray, "K K"]
    size: Float64[np.ndarray, " K"]
    worth: Float64[np.ndarray, " K"]


class EvidenceModel(NamedTuple):
    """What is known beforehand of what can be seen.

    Attributes:
        metrics: names of the K metrics of a look.
        noise: how these show a standing; None where no look can be taken.
        results: spread of true results over the models of a task.
        error: standard error of a result that comes without one.
        measure: what results are.
        bounds: of the measure.
        ranks: at so many results their order counts as much as their values; infinite: only values
            count. Where results are heavy-tailed the order says more.
        link: variance of what a result does not say of a standing, beside its standard error.
        width: factor of the deviation of a result that is not yet known, in the measure.
        unit_error: relative error of the measure's unit: the farther a model's standing lies from
            those that were run, the less the unit that they show holds for it.
        doubt: factor of the deviations of standings where the best of many models is asked for:
            what is small for each of them adds up for the best.
        varying: what a disagreement of metrics on a task says of their errors there; None where
            they err alike on every task.
    """

    metrics: tuple[str, ...] = ()
    noise: MetricNoise | None = None
    results: Spread = Spread(0.1, 0.0)
    error: float = 0.01
    measure: str = "accuracy"
    bounds: tuple[float, float] = (0.0, 1.0)
    ranks: float = np.inf
    link: float = 0.0
    width: float = 1.0
    unit_error: float = 0.0
    doubt: float = 1.0
    varying: Disagreement | None = None

    @property
    def look_variance(self) -> float:
        """Variance of the error of one look with all metrics: 1/(g^T C^-1 g)."""
        if self.noise is None:
            return 0.0
        gain = self.noise.gain
        return float(1 / (gain @ np.linalg.solve(self.noise.noise, gain)))


def learn_metric_noise(
    metrics: Float[np.ndarray, "G K M"], truth: Float[np.ndarray, "G M"]
) -> MetricNoise:
    """Learn gains and noise on source datasets.

    Where fewer than FEWEST_TRUE datasets have known accuracies, gains come from how metrics agree:
    with independent errors g_1^2 = c_12 c_13 / c_23.

    Args:
        metrics: on whole source datasets; not finite where a model has none.
        truth: standard scores of the true accuracies; NaN where unknown.

    Returns:
        The noise.
    """
    standard, sizes = _standard(np.asarray(metrics, np.float64))
    known = np.isfinite(truth) & np.isfinite(standard).all(1)
    spreads = [Spread.of(column) for column in sizes.T]
    if known.any(1).sum() >= FEWEST_TRUE:
        gain, noise = _beside_truth(standard, np.asarray(truth, np.float64), known)
    else:
        gain, noise = _among_themselves(standard)
    size, worth = (np.array(part) for part in zip(*spreads, strict=True))
    noise[np.diag_indices(len(noise))] = np.maximum(np.diagonal(noise), LEAST_NOISE)
    return MetricNoise(gain, noise, size, worth)


def _standard(
    metrics: Float64[np.ndarray, "G K M"],
) -> tuple[Float64[np.ndarray, "G K M"], Float64[np.ndarray, "G K"]]:
    """Standard scores over the models, and the deviations, 0 where no model has a value."""
    there = np.isfinite(metrics)
    count = np.maximum(there.sum(-1), 1)
    mean = np.where(there, metrics, 0).sum(-1) / count
    gap = np.where(there, metrics, np.nan) - mean[..., None]
    size = np.sqrt(np.nansum(gap**2, -1) / count)
    return gap / np.maximum(size, 1e-12)[..., None], size


def _beside_truth(
    standard: Float64[np.ndarray, "G K M"],
    truth: Float64[np.ndarray, "G M"],
    known: Bool[np.ndarray, "G M"],
) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, "K K"]]:
    z, y = np.moveaxis(standard, 1, 0)[:, known], truth[known]
    gain = z @ y / (y @ y)
    errors = z - gain[:, None] * y
    return gain, errors @ errors.T / errors.shape[1]


def _among_themselves(
    standard: Float64[np.ndarray, "G K M"],
) -> tuple[Float64[np.ndarray, " K"], Float64[np.ndarray, "K K"]]:
    K = standard.shape[1]
    z = np.moveaxis(standard, 1, 0).reshape(K, -1)
    there = np.isfinite(z).astype(np.float64)
    z = np.nan_to_num(z)
    c = np.clip(z @ z.T / np.maximum(there @ there.T, 1), 0.05, 1)
    gain = np.full(K, UNKNOWN_GAIN)
    for k in range(K) if K > 2 else ():
        i, j = [other for other in range(K) if other != k][:2]
        gain[k] = np.sqrt(np.clip(c[k, i] * c[k, j] / c[i, j], 0.1, 0.98))
    return gain, np.diag(1 - gain**2)


def metric_observation(
    now: Posterior,
    learned: MetricNoise,
    models: Int[np.ndarray, " p"],
    metrics: Float[np.ndarray, "p K"],
    varying: Disagreement | None = None,
) -> Observation:
    """Metrics of looked-at models as one observation of each.

    Args:
        now: what is known without them.
        learned: gains and noise.
        models: positions of the p models.
        metrics: their values; not finite where a model lacks one, at least one each is there.
        varying: what their disagreement says of their errors; None: nothing.

    Returns:
        The observation; its level means nothing.
    """
    scaled = scaled_metrics(now, learned, models, metrics)
    values, variances = _collapsed(scaled, learned)
    if varying is not None:
        found = disagreement(scaled, learned.gain, learned.noise)
        variances *= 1.0 if found is None else varying.size(*found)
    return Observation(models, values, variances)


def metric_parts(
    now: Posterior,
    learned: MetricNoise,
    models: Int[np.ndarray, " p"],
    metrics: Float[np.ndarray, "p K"],
) -> Float64[np.ndarray, "p K"]:
    """What each metric says beyond what is expected: the rows add up to values less means.

    The value of a model is w^T s, w = C^-1 g/(g^T C^-1 g) and w^T g = 1, so that it lies
    sum_k w_k (s_k - g_k mean) above its mean.

    Args:
        now: as for `metric_observation`, as all others.
        learned: gains and noise.
        models: positions of the p models.
        metrics: their values.

    Returns:
        0 where a model lacks a metric.
    """
    scaled = scaled_metrics(now, learned, models, metrics)
    found = np.zeros(scaled.shape)
    for i, row in enumerate(scaled):
        there, pull, precision = _pull(row, learned)
        found[i, there] = pull / precision * (row - learned.gain * now.mean[models[i]])[there]
    return found


def scaled_metrics(
    now: Posterior,
    learned: MetricNoise,
    models: Int[np.ndarray, " p"],
    metrics: Float[np.ndarray, "p K"],
) -> Float64[np.ndarray, "p K"]:
    """Metrics in units of their spread on this task, at the level that is expected."""
    scaled = np.full(metrics.shape, np.nan)
    expected_values = _expected_variance(now, models)
    for k, (gain, noise) in enumerate(zip(learned.gain, np.diagonal(learned.noise), strict=True)):
        there = np.isfinite(metrics[:, k])
        if not there.any():
            continue
        spread = Spread(float(learned.size[k]), float(learned.worth[k]))
        size = spread.seen(metrics[there, k], gain**2 * expected_values + noise)
        scaled[there, k] = metrics[there, k] / max(size, 1e-12)
        # levels by what is expected of the models: they matter only where some lack a metric
        scaled[there, k] -= np.mean(scaled[there, k] - gain * now.mean[models[there]])
    return scaled


def _expected_variance(now: Posterior, models: Int[np.ndarray, " p"]) -> float:
    """Sample variance that the standings of some models should have."""
    p = len(models)
    if p < 2:
        return 1.0
    covariance = now.covariance(models)
    uncertain = (np.trace(covariance) - covariance.sum() / p) / (p - 1)
    return float(np.var(now.mean[models], ddof=1) + uncertain)


def _collapsed(
    scaled: Float64[np.ndarray, "p K"], learned: MetricNoise
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """The value that a model's metrics are worth, and its variance: w = C^-1 g/(g^T C^-1 g)."""
    values, variances = np.empty(len(scaled)), np.empty(len(scaled))
    for i, row in enumerate(scaled):
        there, pull, precision = _pull(row, learned)
        values[i] = pull @ row[there] / precision
        variances[i] = 1 / precision
    return values, variances


def _pull(
    row: Float64[np.ndarray, " K"], learned: MetricNoise
) -> tuple[Int[np.ndarray, " k"], Float64[np.ndarray, " k"], float]:
    """Which metrics a model has, C^-1 g of these, and g^T C^-1 g."""
    there = np.flatnonzero(np.isfinite(row))
    pull = np.linalg.solve(learned.noise[np.ix_(there, there)], learned.gain[there])
    return there, pull, float(learned.gain[there] @ pull)


class ResultScale(NamedTuple):
    """The line of results over the values that stand for them: result = origin + unit value.

    Attributes:
        unit: how much of the measure a standard unit is.
        origin: the result of a value of 0.
        doubt: factor of deviations in the measure, at least 1: the unit is known from a few results
            only, so results are spread as Student's t.
    """

    unit: float
    origin: float
    doubt: float = 1.0

    def deviations(
        self,
        evidence: EvidenceModel,
        mean: Float64[np.ndarray, " M"],
        variance: Float64[np.ndarray, " M"],
        run: Int[np.ndarray, " p"],
    ) -> Float64[np.ndarray, " M"]:
        """Standard deviation of results that are not yet known, in the measure.

        Args:
            evidence: how results are read.
            mean: of the standings.
            variance: of the standings, level included.
            run: positions of the models whose results show the measure.
        """
        far = mean - mean[run].mean()
        near = (self.doubt * evidence.width) ** 2 * (np.maximum(variance, 0) + evidence.link)
        return np.asarray(self.unit * np.sqrt(near + (evidence.unit_error * far) ** 2))


def result_observation(
    now: Posterior,
    evidence: EvidenceModel,
    models: Int[np.ndarray, " p"],
    results: Float64[np.ndarray, " p"],
    errors: Float64[np.ndarray, " p"],
) -> tuple[Observation, ResultScale]:
    """True results in the task's measure as observations in standard units.

    Values are results over their spread; of more than two, p/(p + ranks) of them is the normal
    score of the p results, as wide as such models should differ.

    Args:
        now: what is known without them.
        evidence: how results spread and are read.
        models: positions of the p models.
        results: in the measure, larger is better.
        errors: their standard errors.

    Returns:
        The observation, and the line back to the measure.
    """
    expected = _expected_variance(now, models)
    size = evidence.results.seen(results, expected)
    # results that are equal within their errors do not show that models do not differ
    least = min(evidence.results.size, float(errors.min()))
    size = max(size, least)
    variances = (errors / size) ** 2 + evidence.link + 1e-9
    p = len(results)
    freedom = max(evidence.results.worth + p - 1, LEAST_FREEDOM)
    doubt = float(np.sqrt(freedom / (freedom - 2)))
    share = p / (p + evidence.ranks) if p > 2 else 0.0
    if share == 0:
        return Observation(models, results / size, variances), ResultScale(size, 0.0, doubt)
    wide = np.sqrt(expected)
    values = share * wide * normal_scores(results) + (1 - share) * wide * _standardized(results)
    slope = float(np.cov(results, values)[0, 1] / max(np.var(values, ddof=1), 1e-12))
    unit = slope if slope > least else size
    line = ResultScale(unit, float(results.mean() - unit * values.mean()), doubt)
    return Observation(models, values, variances), line


def _standardized(values: Float64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
    gap = values - values.mean()
    deviation = float(gap.std(ddof=1))
    return np.asarray(gap / deviation if deviation > 0 else gap)


def normal_scores(values: Float64[np.ndarray, " p"]) -> Float64[np.ndarray, " p"]:
    """Phi^-1((rank - 1/2)/p), ties sharing a rank, in units of the deviation without ties."""
    from scipy.special import ndtri  # slow to import
    from scipy.stats import rankdata

    p = len(values)
    whole = ndtri((np.arange(p) + 0.5) / p)
    return np.asarray(ndtri((rankdata(values) - 0.5) / p) / whole.std(ddof=1))
