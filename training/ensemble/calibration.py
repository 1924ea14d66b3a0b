"""Temperature scaling (Guo et al. 2017), fitted on families that are used for nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from semblance.manifests.ids import digest
from semblance.training.metrics.classification import Floats

FOLDS: Final = 5
_LIMIT: Final = 3.0  # of |log T|


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """A fitted temperature.

    ``value``: the geometric mean over the usable ``folds``. ``before`` and ``after``: the mean log loss of the held-out
    rows at temperature 1 and at the fold's temperature; None without a held-out fold.
    """

    value: float
    folds: tuple[float, ...]
    before: float | None
    after: float | None
    note: str | None = None


def fit(label_N: Floats, logit_N: Floats, families: Sequence[str], *, seed: int = 0) -> Temperature:
    """Fit a temperature in ``FOLDS`` folds, or one per family if there are fewer; no fold divides a family.

    A fold is skipped if its rows have one class only or if their logits separate the classes perfectly, since then
    every smaller temperature would be better.
    """
    names = sorted(set(families), key=lambda name: digest(seed, "fold", name))
    count = min(FOLDS, len(names))
    fold_of = {name: place % count for place, name in enumerate(names)}
    fold_N = np.array([fold_of[name] for name in families])
    folds, before, after = [], [], []
    for fold in range(count):
        inside = fold_N != fold if count > 1 else np.ones(len(fold_N), bool)
        if not _solvable(label_N[inside], logit_N[inside]):
            continue
        temperature = solve(label_N[inside], logit_N[inside])
        folds.append(temperature)
        held_out = fold_N == fold
        before.append(loss(label_N[held_out], logit_N[held_out], 1.0))
        after.append(loss(label_N[held_out], logit_N[held_out], temperature))
    if not folds:
        return Temperature(
            value=1.0,
            folds=(),
            before=None,
            after=None,
            note="the families held out for it are perfectly separated or have only one class, so it stays 1",
        )
    if count == 1:  # nothing is held out
        return Temperature(
            value=folds[0],
            folds=tuple(folds),
            before=None,
            after=None,
            note="fitted on a single family: add builds before relying on it"
            + (" (it is at its limit)" if abs(math.log(folds[0])) >= _LIMIT else ""),
        )
    note = f"in {count} folds, since there are no more families" if count < FOLDS else None
    if max(abs(math.log(value)) for value in folds) >= _LIMIT:
        note = "at its limit: the logits do not tell these families apart, or no more than perfectly"
    return Temperature(
        value=float(np.exp(np.mean(np.log(folds)))),
        folds=tuple(folds),
        before=float(np.mean(before)),
        after=float(np.mean(after)),
        note=note,
    )


def solve(label_N: Floats, logit_N: Floats) -> float:
    """The temperature with the lowest log loss, by LBFGS on its logarithm, limited to exp(-3) to exp(3)."""
    label, logit = torch.from_numpy(label_N).double(), torch.from_numpy(logit_N).double()
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(logit * torch.exp(-log_t), label)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return float(np.exp(np.clip(log_t.item(), -_LIMIT, _LIMIT)))


def loss(label_N: Floats, logit_N: Floats, temperature: float) -> float:
    """Mean log loss of the logits divided by the temperature."""
    scaled_N = logit_N / temperature
    return float(np.mean(np.logaddexp(0, scaled_N) - label_N * scaled_N))


def _solvable(label_N: Floats, logit_N: Floats) -> bool:
    real, fake = logit_N[label_N == 0], logit_N[label_N == 1]
    return bool(len(real) and len(fake) and fake.min() < real.max())
