"""Randomised smoothing: accuracy that no change of a picture up to a radius can take away (Cohen et al. 2019).

The smoothed detector says what the base detector says most often of a picture with Gaussian noise. Where that share
is at least p, its answer is the same for every picture within sigma Phi^-1(p) in L2.

B: batch, C: colours, H, W: pixels, R: radii.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
import torch
from scipy.stats import beta, norm
from torch import Tensor

from semblance.manifests.errors import UsageError
from semblance.manifests.ids import digest
from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.attacks import EPS
from semblance.training.attacks.target import Target
from semblance.training.data.query import Selection
from semblance.training.evaluation import networks, predictions, results
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.inference.precision import device
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import classification
from semblance.training.metrics.classification import Floats
from semblance.training.regimes.noisy import NoisyConfig

SIGMA: Final = 0.25  # of values in [0, 1]
SAMPLES: Final = 10_000
ALPHA: Final = 0.001
PICTURES: Final = 100
FIRST: Final = 100  # noisy pictures that the answer is chosen by
STEP: Final = 0.4  # between radii, in sigmas
_CHUNK: Final = 64  # noisy pictures at a time; a part of what the noise follows from


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How pictures are certified.

    ``samples``: noisy pictures that a share is estimated from; ``alpha``: how often a certificate may be wrong.
    ``at``: radii that are judged besides those of ``radii``'s steps. Raises UsageError for values that mean nothing.
    """

    sigma: float = SIGMA
    samples: int = SAMPLES
    alpha: float = ALPHA
    pictures: int = PICTURES
    first: int = FIRST
    seed: int = 0
    at: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 10:
            raise UsageError(f"--sigma {self.sigma:g} is not in (0, 10]; pictures have values from 0 to 1.")
        if not 0 < self.alpha < 0.5:
            raise UsageError(f"--alpha {self.alpha:g} is not between 0 and 0.5; it is how often a certificate errs.")
        if self.pictures < 2:
            raise UsageError(f"--certify-pictures {self.pictures} is too few; judge at least 2, one of each class.")
        if lower(self.samples, self.samples, self.alpha) <= 0.5:
            raise UsageError(
                f"--samples {self.samples} can certify nothing at --alpha {self.alpha:g}: even if all agree, the share "
                f"may be a half; take at least {int(np.floor(np.log(self.alpha) / np.log(0.5))) + 1}."
            )

    @property
    def cap(self) -> float:
        """The largest radius that so many samples can certify, whatever the detector: sigma Phi^-1(alpha^(1/n))."""
        return self.sigma * float(norm.ppf(self.alpha ** (1 / self.samples)))

    @property
    def radii(self) -> tuple[float, ...]:
        """0, steps of 0.4 sigma up to the cap, and those of ``at``."""
        steps = (self.sigma * STEP * step for step in range(int(self.cap / (self.sigma * STEP)) + 1))
        return tuple(sorted({*steps, *self.at}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Accuracy at a radius: the share of pictures that are called rightly whatever a change of that L2 length does.

    ``balanced``: the mean over both classes; ``real``, ``fake``: of each, None if the class is missing.
    """

    radius: float
    balanced: Estimate
    real: float | None
    fake: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A run's certified accuracy. ``side``: that of the pictures in px, on which the radius depends.

    ``abstained``: pictures without an answer, which count as wrong. ``clean``: balanced accuracy of the base detector
    on them without noise, at the same threshold. ``trained``: sigma of the noise in its training; None: without noise.
    """

    model: str
    side: int
    sigma: float
    samples: int
    alpha: float
    cap: float
    reals: int
    fakes: int
    abstained: int
    trained: float | None
    clean: Estimate
    points: tuple[Point, ...]

    @property
    def covering(self) -> float:
        """The L2 radius that would cover every change by the plan's 0.03 of all values."""
        return covering(EPS, self.side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the smoothed detector says of a picture: 1 fake, 0 real, None if it abstains; and its certified radius."""

    label: int | None
    radius: float


def lower(count: int, samples: int, alpha: float) -> float:
    """The lower end of the one-sided Clopper-Pearson interval of a share, of level 1 - alpha."""
    return 0.0 if count == 0 else float(beta.ppf(alpha, count, samples - count + 1))


def covering(eps: float, side: int) -> float:
    """The L2 length of a change by ``eps`` of all values of a picture: eps sqrt(3 side^2)."""
    return eps * float(np.sqrt(3.0)) * side


def certify(
    logits: Callable[[Tensor], Tensor], image_CHW: Tensor, options: Options, generator: torch.Generator
) -> Answer:
    """The answer for one picture in [0, 1], and its radius.

    ``logits``: (B, 3, H, W) to (B,); above or at 0 is fake. ``generator``: of the picture's device. The noise is not
    clipped. The answer is that of most of the ``first`` noisy pictures; its share is estimated from ``samples`` others.
    """
    first = _fakes(logits, image_CHW, options.sigma, options.first, generator)
    label = int(2 * first >= options.first)
    fakes = _fakes(logits, image_CHW, options.sigma, options.samples, generator)
    share = lower(fakes if label else options.samples - fakes, options.samples, options.alpha)
    if share <= 0.5:
        return Answer(label=None, radius=0.0)
    return Answer(label=label, radius=options.sigma * float(norm.ppf(share)))


def _fakes(
    logits: Callable[[Tensor], Tensor], image_CHW: Tensor, sigma: float, count: int, generator: torch.Generator
) -> int:
    """How many of ``count`` noisy pictures are called fake."""
    found = 0
    for done in range(0, count, _CHUNK):
        shape = (min(_CHUNK, count - done), *image_CHW.shape)
        noise_BCHW = torch.randn(shape, generator=generator, device=image_CHW.device)
        found += int((logits(image_CHW + sigma * noise_BCHW) >= 0).sum())
    return found


def measure(
    result: Evaluation,
    options: Options | None = None,
    *,
    videos: pl.DataFrame | None = None,
    say: Callable[[str], None] = print,
) -> tuple[list[Certificate], list[str]]:
    """Every run on a fixed slice of the evaluated pictures, and notes.

    ``videos``: only pictures of these. The numbers of a picture's noise follow from the seed and its id; those of a
    GPU are others than those of a CPU. Raises UsageError if no run can be certified.
    """
    options = options or Options()
    able, notes = networks.able(list(result.scorers.values()), "--certify")
    chosen = networks.sliced(labelled(result, videos), options.pictures)
    label_of = networks.labels(chosen)
    for line in [*_costs(able, len(label_of), options), *notes]:
        say(line)
    rows: dict[str, list[tuple[str, float, int | None, float]]] = {name: [] for name in able}
    for size, predictors in networks.by_side(able).items():
        for batch in networks.batches(chosen, size):
            for one in predictors:
                rows[one.name] += _batch(result, one, batch.image_BCHW, batch.sample_ids, options)
    found = [_certificate(result, one, rows[name], label_of, options) for name, one in able.items()]
    return found, [*notes, *(note for one in found if (note := _untrained(one)))]


def labelled(result: Evaluation, videos: pl.DataFrame | None) -> Selection:
    """The evaluated pictures whose face has a known label, of ``videos``, or of all that are listed."""
    names = (result.videos if videos is None else videos)["video_id"].implode()
    return networks.only(result.selection, pl.col("video_id").is_in(names) & pl.col("face_label").is_not_null())


def _costs(able: Mapping[str, Predictor], pictures: int, options: Options) -> list[str]:
    each = options.first + options.samples
    lines = []
    for name, one in able.items():
        passes = pictures * each * networks.passes(one)
        about = networks.told(pictures * each * networks.seconds(one))
        lines.append(f"certificates of {name}: {pictures} pictures x {each:,} noisy ones, {passes:,} passes, {about}")
    return lines


def _batch(
    result: Evaluation, predictor: Predictor, image_BCHW: Tensor, names: tuple[str, ...], options: Options
) -> list[tuple[str, float, int | None, float]]:
    """sample_id, logit over the threshold without noise, answer and radius of each picture."""
    threshold, combined = result.thresholds[predictor.name]["frame"], networks.logits(predictor)
    target = Target(lambda image_BCHW: combined(image_BCHW) - threshold, networks.modules(predictor))
    clean = target(image_BCHW).tolist()
    found = []
    for name, image_CHW, logit in zip(names, image_BCHW, clean, strict=True):
        seed = int(digest("noise", options.seed, name)[:15], 16)
        answer = certify(target, image_CHW, options, torch.Generator(device()).manual_seed(seed))
        found.append((name, logit, answer.label, answer.radius))
    return found


def _certificate(
    result: Evaluation,
    predictor: Predictor,
    found: list[tuple[str, float, int | None, float]],
    label_of: Mapping[str, int],
    options: Options,
) -> Certificate:
    schema = {"sample_id": pl.String, "clean": pl.Float64, "called": pl.Int64, "radius": pl.Float64}
    table = pl.DataFrame(found, schema, orient="row")
    known = result.predictions[predictor.name].drop("logit", "score")
    rows = known.join(table, on="sample_id", how="inner", maintain_order="left")
    label_N = np.array([label_of[name] for name in rows["sample_id"]])
    right_N = (rows["called"] == pl.Series(label_N)).fill_null(False).to_numpy()
    holds = {str(radius): right_N & (rows["radius"].to_numpy() >= radius) for radius in options.radii}
    holds["clean"] = (rows["clean"].to_numpy() >= 0) == (label_N == 1)

    def figures(weight_DN: Floats | None) -> dict[str, Floats]:
        weight_DN = np.ones((1, len(label_N))) if weight_DN is None else weight_DN
        return {name: classification.balanced(hold_N, label_N, weight_DN) for name, hold_N in holds.items()}

    groups = predictions.groups(rows)
    draws = result.options.draws if results.enough(pl.Series(label_N), groups) else 0
    estimates = bootstrap.estimate(figures, groups.to_numpy(), draws=draws, seed=result.options.seed)

    def share(name: str, label: int) -> float | None:
        inside_N = label_N == label
        return float(holds[name][inside_N].mean()) if inside_N.any() else None

    return Certificate(
        model=predictor.name,
        side=networks.side(predictor),
        sigma=options.sigma,
        samples=options.samples,
        alpha=options.alpha,
        cap=options.cap,
        reals=int((label_N == 0).sum()),
        fakes=int((label_N == 1).sum()),
        abstained=int(rows["called"].null_count()),
        trained=_noise(predictor),
        clean=estimates["clean"],
        points=tuple(
            Point(
                radius=radius,
                balanced=estimates[str(radius)],
                real=share(str(radius), 0),
                fake=share(str(radius), 1),
            )
            for radius in options.radii
        ),
    )


def _noise(predictor: Predictor) -> float | None:
    """The least sigma of the noise that its members were trained with; None if one was trained without."""
    regimes = [member.trained.recipe.regime for member in predictor.members]
    known = [regime.sigma for regime in regimes if isinstance(regime, NoisyConfig)]
    return min(known) if len(known) == len(regimes) else None


def _untrained(one: Certificate) -> str | None:
    if one.trained is not None:
        return None
    return (
        f"{one.model} was not trained on noise, so its answers under noise say little of it; train its recipe with "
        f"`--set regime.kind=noisy` first."
    )
