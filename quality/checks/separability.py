"""How well columns separate two labels: cross-validated by family, with an interval and the best columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.manifests.ids import digest
from semblance.quality.statistics import bootstrap, roc

Numbers = NDArray[np.float64]
Wholes = NDArray[np.int64]

FOLDS: Final = 5
ROUNDS: Final = 200  # of the bootstrap
LEAST_FAMILIES: Final = 20  # with fewer, nothing is reported
KNOWN: Final = 0.8  # least share of known values, of reals and of fakes, for a column to be used
MOST: Final = 6000  # videos of one comparison; whole families are left out by hash
_LEAST_CONSTANT: Final = 3  # families needed before one value per label means anything
_RARE: Final = 50  # most frequent categories of a column; the others are merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Separator:
    """How well one column separates the labels alone: area under the ROC curve, and typical values by label."""

    column: str
    auc: float
    real: str
    fake: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Separability:
    """``auc`` with its 95 % interval over families; None if there are too few families, or no column is known for
    both reals and fakes.

    ``scores`` are the out-of-fold probabilities of label 1 of ``ids``.
    """

    auc: float | None
    low: float | None
    high: float | None
    reals: int
    fakes: int
    families: int
    used: tuple[str, ...]
    unused: tuple[str, ...]
    giveaways: tuple[Separator, ...]
    constant: tuple[str, ...]  # columns with one value in all reals and another in all fakes, as text
    ids: tuple[str, ...]
    scores: Numbers


def measure(table: pl.DataFrame, columns: list[str], seed: int = 0) -> Separability:
    """Try to predict ``label`` from ``columns``; ``table`` has one row per video with video_id, label and family_id.

    No classifier sees that a value is missing. A column must be known for most reals and most fakes to be used, and
    a video that lacks a used column is left out; nothing is imputed.
    """
    table = bounded(table, seed)
    used = _known(table, columns)
    kept = table.drop_nulls(used).sort("video_id") if used else table.sort("video_id")
    labels = kept["label"].cast(pl.Int64).to_numpy()
    families = kept["family_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
    count = int(families.max()) + 1 if len(families) else 0
    unused = tuple(name for name in columns if name not in used)
    result: dict[str, Any] = {
        "reals": int((labels == 0).sum()),
        "fakes": int((labels == 1).sum()),
        "families": count,
        "used": tuple(used),
        "unused": unused,
        "constant": tuple(_constant(kept, used)) if count >= _LEAST_CONSTANT else (),
    }
    folds = folds_of(kept["family_id"].to_list(), seed)
    if not used or count < LEAST_FAMILIES or not testable(labels, folds):
        nothing = np.zeros(0)
        return Separability(auc=None, low=None, high=None, giveaways=(), ids=(), scores=nothing, **result)
    values = np.stack([_numbers(kept[name]) for name in used], axis=1)
    scores = _out_of_fold(values, labels, folds, seed, trees=40)
    found = bootstrap.estimate(
        lambda weight_DN: {"auc": roc.auc(labels, scores, weight_DN)}, families, draws=ROUNDS, seed=seed
    )["auc"]
    alone = [
        Separator(
            column=name,
            auc=float(roc.auc(labels, _out_of_fold(values[:, [place]], labels, folds, seed, trees=1))[0]),
            real=_typical(kept.filter(label=0)[name]),
            fake=_typical(kept.filter(label=1)[name]),
        )
        for place, name in enumerate(used)
    ]
    alone.sort(key=lambda one: (-one.auc, one.column))
    return Separability(
        auc=found.value,
        low=found.low,
        high=found.high,
        giveaways=tuple(alone),
        ids=tuple(kept["video_id"]),
        scores=scores,
        **result,
    )


def _constant(kept: pl.DataFrame, used: list[str]) -> Iterator[str]:
    """Columns that reveal the label without any statistics."""
    for name in used:
        real, fake = (kept.filter(label=label)[name].unique() for label in (0, 1))
        if len(real) == len(fake) == 1 and real[0] != fake[0]:
            yield f"{name}, real {real[0]}, fake {fake[0]}"


def bounded(table: pl.DataFrame, seed: int, most: int = MOST) -> pl.DataFrame:
    """At most about ``most`` videos: whole families, chosen by hash."""
    if table.height <= most:
        return table
    sizes = dict(table.group_by("family_id").len().iter_rows())
    kept, total = [], 0
    for name in sorted(sizes, key=lambda one: digest(seed, one)):
        if total >= most:
            break
        kept.append(name)
        total += sizes[name]
    return table.filter(pl.col("family_id").is_in(kept))


def _known(table: pl.DataFrame, columns: list[str]) -> list[str]:
    """The columns that are known together for most reals and most fakes; the least known are dropped first."""
    used = [name for name in columns if table[name].null_count() < table.height]
    by_label = [table.filter(label=label) for label in (0, 1)]
    if any(part.is_empty() for part in by_label):
        return []

    def share(names: list[str]) -> float:
        return min(part.drop_nulls(names).height / part.height for part in by_label)

    while used and share(used) < KNOWN:
        used.remove(min(used, key=lambda name: (share([name]), name)))
    return used


def folds_of(families: list[str], seed: int) -> Wholes:
    """(N,) the fold of each row: families ordered by hash, assigned in turn."""
    order = sorted(set(families), key=lambda one: digest("fold", seed, one))
    place = {name: number % FOLDS for number, name in enumerate(order)}
    return np.array([place[name] for name in families], np.int64)


def testable(labels: Wholes, folds: Wholes) -> bool:
    """Whether both labels remain when any fold is left out."""
    return all(len(np.unique(labels[folds != fold])) == 2 for fold in range(FOLDS))


def _out_of_fold(values: Numbers, labels: Wholes, folds: Wholes, seed: int, *, trees: int) -> Numbers:
    """(N,) the probability of label 1 by trees grown without the row's fold."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.tree import DecisionTreeClassifier

    scores = np.full(len(labels), 0.5)
    for fold in np.unique(folds):
        inside = folds != fold
        leaf = max(3, int(inside.sum()) // 100)
        kind = {"min_samples_leaf": leaf, "class_weight": "balanced", "random_state": seed}
        model = (
            DecisionTreeClassifier(max_depth=3, **kind)
            if trees == 1
            else ExtraTreesClassifier(n_estimators=trees, max_depth=6, max_features=None, n_jobs=1, **kind)
        )
        model.fit(values[inside], labels[inside])
        scores[~inside] = model.predict_proba(values[~inside])[:, 1]
    return np.round(scores, 9)  # ties stay ties in any order of summation


def _numbers(column: pl.Series) -> Numbers:
    """Numbers unchanged; names as their rank by frequency, which is independent of labels."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float64).to_numpy()
    counted = column.value_counts().sort(["count", column.name], descending=[True, False])
    place = {name: min(number, _RARE) for number, name in enumerate(counted[column.name])}
    return np.array([place[name] for name in column], np.float64)


def _typical(column: pl.Series) -> str:
    """The median of numbers, the most frequent of names with its share."""
    if column.dtype.is_numeric():
        middle = float(np.median(column.cast(pl.Float64).to_numpy()))
        return f"{middle:,.0f}" if abs(middle) >= 1000 else f"{middle:.4g}"
    counted = column.value_counts().sort(["count", column.name], descending=[True, False])
    return f"{counted[column.name][0]} ({counted['count'][0] / len(column):.0%})"


def one_thread() -> None:
    """Limit native thread pools on shared machines; commands call it before scikit-learn is loaded."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
