"""How far to trust estimated people: pairs and clusters against what the data knows, which is withheld for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.quality.people.clusters import (
    NOBODY,
    Clusters,
    Floats,
    Points,
    centred,
    cluster,
    known_apart,
    near,
    other_ids,
)
from semblance.quality.people.embedders.door import Distances
from semblance.quality.people.links import Links
from semblance.quality.people.vectors import Faces

Truth = Literal["ids", "recordings", "halves"]
WHY: Final[dict[Truth, str]] = {
    "ids": "people known in the data, whose ids were withheld",
    "recordings": "one recording in several videos; optimistic, since other recordings of a person look less alike",
    "halves": "the two halves of one person's crops in one video; optimistic, since other recordings look less alike",
}
_LEAST_PAIRS: Final = 1000  # of different people, for a limit to be taken from the collection
_MOST: Final = 3000  # faces that a calibration clusters, chosen by hash
_DRAWS: Final = 100  # splits drawn
_PARTS: Final = (0.1, 0.1)  # test and val
_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Share of test clips whose person is in train, over drawn splits by cluster: mean, and the middle 95 %.

    ``lost``: share of all clips in no split: abstained or quarantined.
    """

    share: float
    low: float
    high: float
    lost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the clusters did without the truth that they are compared with.

    ``missed``: share of pairs of one person above the linkage distance; ``false``: of pairs of two people below it.
    ``people`` in the truth (or recordings, or faces), and the ``clusters`` that hold them; ``whole``: share of people
    in one cluster; ``pure``: share of clips in a cluster that mainly holds their own person, of those in any; None
    without ids, since two recordings may show one person.
    """

    truth: Truth
    clips: int
    same: int
    different: int
    missed: float | None
    false: float | None
    people: int
    clusters: int
    whole: float
    pure: float | None
    leak: Leak

    @property
    def optimistic(self) -> bool:
        return self.truth != "ids"


def strangers(points: Points) -> Floats:
    """The distances of all pairs of points that are known to be two people."""
    found = [_between(points, points.apart_K2)]
    for point, others in other_ids(points.known):
        found.append(1 - points.vector_ND[others] @ points.vector_ND[point])
    return np.concatenate(found)


def limits(stated: Distances, different_K: Floats, rate: float) -> tuple[Distances, bool]:
    """The distances to use, and whether the collection gave the linkage: below it is ``rate`` of pairs of two people.

    That needs 1,000 such pairs, and as many as one false match takes. A limit under half of the stated one is not
    believed: then some ids are wrong. ``attach`` and ``quarantine`` are at least the linkage.
    """
    if len(different_K) < max(_LEAST_PAIRS, 1 / rate):
        return stated, False
    found = float(np.quantile(different_K, rate))
    if not stated.linkage / 2 <= found < 2:
        return stated, False
    wider = {name: max(found, getattr(stated, name)) for name in ("attach", "quarantine")}
    return stated.model_copy(update={"linkage": found, **wider}), True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Trial:
    """What is clustered again, and the person of each vector, None where that is not known."""

    truth: Truth
    vector_ND: Floats
    labels: Sequence[str | None]
    apart_K2: NDArray[np.int64]


def calibrate(
    faces: Faces, planned: pl.DataFrame, withheld: Links, known: Sequence[str | None], cuts: Distances, least: int
) -> Calibration | None:
    """Cluster again without what is known, and compare; None if nothing is known and no two faces have two crops.

    ``known``: the id of each face; ``cuts``: for centred vectors. Ids are the truth if one has two clips; else
    recordings in several videos; else the halves of each face's crops.
    """
    rows = faces.rows.join(
        planned.select("build", "dataset", "video_id", "recording_id"),
        on=["build", "dataset", "video_id"],
        how="left",
        maintain_order="left",
    ).with_columns(clip=pl.coalesce("recording_id", "video_id"))
    trial = _ids(faces, rows, withheld, known) or _recordings(faces, rows) or _halves(faces, rows, withheld)
    return None if trial is None else _compared(trial, cuts, least)


def _ids(faces: Faces, rows: pl.DataFrame, withheld: Links, known: Sequence[str | None]) -> _Trial | None:
    clips: dict[str, set[str]] = {}
    for name, clip in zip(known, rows["clip"], strict=True):
        if name is not None:
            clips.setdefault(name, set()).add(clip)
    if len(clips) < 2 or all(len(own) < 2 for own in clips.values()):
        return None
    labels: list[str | None] = [None] * len(withheld.known_P)
    for point, name in zip(withheld.point_N, known, strict=True):
        labels[point] = name or labels[point]
    means = point_means(faces.vector_ND, withheld.point_N)
    return _Trial(truth="ids", vector_ND=means, labels=labels, apart_K2=withheld.apart_K2)


def _recordings(faces: Faces, rows: pl.DataFrame) -> _Trial | None:
    numbered = rows.with_row_index("n").filter(pl.len().over("build", "dataset", "video_id") == 1)
    several = numbered.drop_nulls("recording_id").filter(pl.len().over("dataset", "recording_id") > 1)
    if several.select("dataset", "recording_id").n_unique() < 2:
        return None
    chosen = _some(several["n"].to_list(), rows, _MOST)
    labels = ["/".join(rows.select("dataset", "recording_id").row(n)) for n in chosen]
    vectors = faces.vector_ND[chosen].astype(np.float64)
    return _Trial(truth="recordings", vector_ND=vectors, labels=labels, apart_K2=np.zeros((0, 2), np.int64))


def _halves(faces: Faces, rows: pl.DataFrame, withheld: Links) -> _Trial | None:
    chosen = _some([n for n, crops in enumerate(rows["crops"]) if crops > 1], rows, _MOST // 2)
    if len(chosen) < 2:
        return None
    place = {n: 2 * i for i, n in enumerate(chosen)}
    shown = [(place[a], place[b]) for a, b in _shown_together(rows) if a in place and b in place]
    apart = np.array([(a + i, b + j) for a, b in shown for i in (0, 1) for j in (0, 1)], np.int64).reshape(-1, 2)
    labels = [str(withheld.point_N[n]) for n in chosen for _ in (0, 1)]
    vectors = faces.halves_N2D[chosen].reshape(2 * len(chosen), -1).astype(np.float64)
    return _Trial(truth="halves", vector_ND=vectors, labels=labels, apart_K2=apart)


def point_means(vector_ND: NDArray[np.float32], point_N: NDArray[np.int64]) -> Floats:
    """The mean vector of each point's faces."""
    sums = np.zeros((int(point_N.max()) + 1, vector_ND.shape[1]))
    np.add.at(sums, point_N, vector_ND.astype(np.float64))
    return np.asarray(sums / np.bincount(point_N)[:, None], np.float64)


def _compared(trial: _Trial, cuts: Distances, least: int) -> Calibration:
    vectors, centre = centred(trial.vector_ND, cuts.raw)
    used = cuts if centre else without_centre(cuts)
    count = len(vectors)
    points = Points(vector_ND=vectors, clips_N=np.ones(count, np.int64), known=[None] * count, apart_K2=trial.apart_K2)
    found = cluster(points, used, least)
    told = [n for n, label in enumerate(trial.labels) if label is not None]
    label_T = np.unique([trial.labels[n] for n in told], return_inverse=True)[1]
    # Other recordings may show the same person: only what one video shows together is known to be two people.
    apart = None if trial.truth == "ids" else _between(points, trial.apart_K2)
    same, different = _pairs(vectors[told], label_T, apart)
    own = found.label_N[told]
    inside = own != NOBODY
    table = np.zeros((int(label_T.max()) + 1, len(found.mean_CD)), np.int64)
    np.add.at(table, (label_T[inside], own[inside]), 1)
    return Calibration(
        truth=trial.truth,
        clips=len(told),
        same=len(same),
        different=len(different),
        missed=float((same > used.linkage).mean()) if len(same) else None,
        false=float((different <= used.linkage).mean()) if len(different) else None,
        people=len(table),
        clusters=int((table.sum(0) > 0).sum()),
        whole=float(((table > 0).sum(1) == 1).mean()),
        pure=float(table.max(0, initial=0).sum() / max(table.sum(), 1)) if trial.truth == "ids" else None,
        leak=leaking(points, found, trial.labels, used),
    )


def without_centre(cuts: Distances) -> Distances:
    """The distances for vectors that are not centred."""
    return Distances(linkage=cuts.raw, attach=cuts.raw, quarantine=cuts.raw, raw=cuts.raw)


def leaking(points: Points, clusters: Clusters, truth: Sequence[str | None], cuts: Distances) -> Leak:
    """The share of test clips that leak, where whole clusters are drawn into test, val and train (10, 10, 80 %)."""
    count, kinds = len(clusters.label_N), len(clusters.mean_CD)
    close = near(points, clusters, cuts.quarantine, known_apart(points, clusters))
    close_K2 = np.array([(point, other) for point in range(count) for other in close[point]], np.int64).reshape(-1, 2)
    truth_N = np.unique([label or "" for label in truth], return_inverse=True)[1]
    told_N = np.array([label is not None for label in truth])
    inside = clusters.label_N != NOBODY
    sizes = np.bincount(clusters.label_N[inside], weights=points.clips_N[inside], minlength=kinds)
    rng = np.random.default_rng(_SEED)
    shares, lost = [], []
    for _ in range(_DRAWS if kinds > 1 else 0):
        order = rng.permutation(kinds)
        before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]]) / max(sizes.sum(), 1)
        side_C = np.empty(kinds, np.int64)
        side_C[order] = np.digitize(before, np.cumsum(_PARTS))  # 0 test, 1 val, 2 train
        side_N = np.where(inside, side_C[clusters.label_N], 3)
        near_test, near_val = (close_K2[side_C[close_K2[:, 1]] == side, 0] for side in (0, 1))
        held = np.zeros(count, bool)
        held[near_test] = side_N[near_test] > 0
        held[near_val] |= side_N[near_val] == 2
        side_N[held] = 3
        tested = (side_N == 0) & told_N
        if tested.any():
            shares.append(float(np.isin(truth_N[tested], truth_N[(side_N == 2) & told_N]).mean()))
        lost.append(float((side_N == 3).mean()))
    if not shares:
        return Leak(share=0.0, low=0.0, high=1.0, lost=float((~inside).mean()))
    low, high = np.percentile(shares, (2.5, 97.5))
    return Leak(share=float(np.mean(shares)), low=float(low), high=float(high), lost=float(np.mean(lost)))


def _pairs(vector_ND: Floats, label_N: NDArray[np.int64], apart: Floats | None) -> tuple[Floats, Floats]:
    """Distances of pairs with one label and of pairs of two people: those ``apart``, or of two labels (None)."""
    same, different = [], []
    for place in range(len(vector_ND) - 1):
        distance = 1 - vector_ND[place + 1 :] @ vector_ND[place]
        alike = label_N[place + 1 :] == label_N[place]
        same.append(distance[alike])
        if apart is None:
            different.append(distance[~alike])
    none = np.zeros(0)
    return np.concatenate([*same, none]), np.concatenate([*different, none]) if apart is None else apart


def _between(points: Points, pairs: NDArray[np.int64]) -> Floats:
    """Cosine distances of pairs (K, 2)."""
    one, other = (points.vector_ND[pairs[:, side]] for side in (0, 1))
    return np.asarray(1 - (one * other).sum(1), np.float64)


def _some(chosen: list[int], rows: pl.DataFrame, most: int) -> list[int]:
    """At most ``most`` of the faces, by hash of their clip, in their order."""
    if len(chosen) <= most:
        return chosen
    clips = rows["clip"].to_list()
    return sorted(sorted(chosen, key=lambda n: hashlib.sha256(clips[n].encode()).digest())[:most])


def _shown_together(rows: pl.DataFrame) -> list[tuple[int, int]]:
    """Pairs of faces of one video."""
    numbered = rows.select("build", "dataset", "video_id").with_row_index("n")
    pairs = numbered.join(numbered, on=["build", "dataset", "video_id"], suffix="_other")
    return pairs.filter(pl.col("n") < pl.col("n_other")).select("n", "n_other").rows()
