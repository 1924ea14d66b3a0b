"""People from vectors: average linkage under what is known, small clusters, and who is too near to whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import psutil
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from semblance.manifests.errors import SemblanceError
from semblance.quality.people.embedders.door import Distances
from semblance.quality.people.vectors import unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
How = Literal["cluster", "attached", "abstained"]
NOBODY: Final = -1
FEW: Final = 12  # points below which a mean of all would be some person's own
# The distance of two points that are known to be two people. A mean over fewer than 5e8 pairs that contains one such
# pair is above any cosine distance, so average linkage never joins them below the cut.
_NEVER: Final = 1e9
_ROWS: Final = 1024  # of distances computed at a time
_SAMPLED: Final = 2000  # points that decide whether to centre


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """What is clustered: faces that are known to be one person are one point.

    ``vector_ND``: of length 1 or 0, centred or not. ``clips_N``: different clips of each. ``known``: its known id.
    ``apart_K2``: pairs of points that one video shows together.
    """

    vector_ND: Floats
    clips_N: Ints
    known: Sequence[str | None]
    apart_K2: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clusters:
    """``label_N``: the cluster of each point, or NOBODY; ``how``: what gave it that. ``mean_CD``: their mean vectors,
    of length 1. ``small``: whether small clusters had to join a large one or abstain.
    """

    label_N: Ints
    how: Sequence[How]
    mean_CD: Floats
    small: bool


def centred(vector_ND: NDArray[Any], raw: float) -> tuple[Floats, bool]:
    """The vectors less their mean, each at length 1; and whether that was done.

    It is not done for fewer than ``FEW`` vectors, nor if half of all pairs are nearer than ``raw``: then most are of
    one person, whose own face the mean would be.
    """
    vectors = np.asarray(vector_ND, np.float64)
    some = unit(vectors[:: max(len(vectors) // _SAMPLED, 1)])
    pairs = np.triu_indices(len(some), 1)
    if len(vectors) < FEW or np.median((1 - some @ some.T)[pairs]) < raw:
        return unit(vectors), False
    return unit(vectors - vectors.mean(0)), True


def cluster(points: Points, cuts: Distances, least: int) -> Clusters:
    """Average linkage (Sokal and Michener 1958) at ``cuts.linkage``, then what becomes of small clusters."""
    return settled(points, linked(points, cuts.linkage), cuts, least)


def settled(points: Points, found: Ints, cuts: Distances, least: int) -> Clusters:
    """The clusters of ``linked``, where those of fewer than ``least`` clips are small.

    If half of all clips are in large clusters, a small one without a known id joins the nearest large one within
    ``cuts.attach``, or abstains. Else small clusters stay: in a collection of one clip a person, nobody would be left.
    """
    count = len(points.vector_ND)
    sizes = np.bincount(found, weights=points.clips_N).astype(np.int64)
    named = np.zeros(len(sizes), bool)
    named[[found[point] for point, known in enumerate(points.known) if known is not None]] = True
    large = sizes >= least
    small = bool(points.clips_N[sizes[found] >= least].sum() * 2 >= points.clips_N.sum())
    means = _means(points.vector_ND, found, len(sizes))
    loose = ~large & ~named if small else np.zeros(len(sizes), bool)
    target = _attached(points, found, loose, large, means, cuts.attach)
    how: list[How] = ["cluster"] * count
    label_N = found.copy()
    for point in range(count):
        own = int(found[point])
        if target[own] != own:
            label_N[point], how[point] = target[own], "attached"
        elif loose[own]:
            label_N[point], how[point] = NOBODY, "abstained"
    kept = np.unique(label_N[label_N != NOBODY])
    number = {int(label): place for place, label in enumerate(kept)}
    label_N = np.array([number.get(int(label), NOBODY) for label in label_N], np.int64)
    # Means are those of the linkage: what was attached is less sure, and would shift them.
    return Clusters(label_N=label_N, how=how, mean_CD=means[kept], small=small)


def near(points: Points, clusters: Clusters, quarantine: float, apart: NDArray[np.bool_]) -> list[list[int]]:
    """The other clusters within ``quarantine`` of each point, nearest first; not those that are known to be others.

    ``apart`` (N, C): whether a point is known to be nobody of a cluster.
    """
    found = []
    for start in range(0, len(points.vector_ND), _ROWS):
        part = slice(start, start + _ROWS)
        distance = 1 - points.vector_ND[part] @ clusters.mean_CD.T
        distance[apart[part]] = np.inf
        for place, label in enumerate(clusters.label_N[part]):
            row = distance[place]
            if label != NOBODY:
                row[label] = np.inf
            close = np.flatnonzero(row <= quarantine)
            found.append([int(one) for one in close[np.argsort(row[close], kind="stable")]])
    return found


def known_apart(points: Points, clusters: Clusters) -> NDArray[np.bool_]:
    """Whether a point is known to be nobody of a cluster, (N, C): another id, or a video that shows both."""
    apart = np.zeros((len(points.vector_ND), len(clusters.mean_CD)), bool)
    for one, other in points.apart_K2:
        for a, b in ((one, other), (other, one)):
            if clusters.label_N[b] != NOBODY:
                apart[a, clusters.label_N[b]] = True
    names = np.array([name or "" for name in points.known])
    of_cluster = np.full(len(clusters.mean_CD), "", names.dtype)
    told = (names != "") & (clusters.label_N != NOBODY)
    of_cluster[clusters.label_N[told]] = names[told]
    for point in np.flatnonzero(names != ""):
        apart[point] |= (of_cluster != "") & (of_cluster != names[point])
    return apart


def distances(points: Points) -> Floats:
    """Condensed cosine distances of all pairs, ``_NEVER`` for two people; raises SemblanceError if memory is short."""
    count = len(points.vector_ND)
    needed = 2 * 8 * count * (count - 1) // 2 + 8 * count * _ROWS  # linkage works on a copy
    if needed > (free := psutil.virtual_memory().available):
        raise SemblanceError(
            f"{count:,} faces need {needed / 2**30:.1f} GiB to be clustered, and {free / 2**30:.1f} are free; give "
            "fewer builds at a time, or run it on a larger machine."
        )
    found = np.empty(count * (count - 1) // 2)
    place = 0
    for start in range(0, count, _ROWS):
        block = 1 - points.vector_ND[start : start + _ROWS] @ points.vector_ND[start:].T
        for row in range(len(block)):
            values = block[row, row + 1 :]
            found[place : place + len(values)] = values
            place += len(values)
    np.clip(found, 0, 2, out=found)
    for one, other in points.apart_K2:
        found[_index(count, int(one), int(other))] = _NEVER
    for one, others in other_ids(points.known):
        found[_index(count, one, others)] = _NEVER
    return found


def other_ids(known: Sequence[str | None]) -> Iterator[tuple[int, Ints]]:
    """Each point with a known id, and the later points with another one."""
    points = np.array([point for point, name in enumerate(known) if name is not None], np.int64)
    code = np.unique([known[point] or "" for point in points.tolist()], return_inverse=True)[1]
    for place, point in enumerate(points.tolist()):
        yield point, points[place + 1 :][code[place + 1 :] != code[place]]


def _index(count: int, one: int, other: Any) -> Any:
    """The place of the pair one < other among the condensed pairs of ``count`` points."""
    return count * one - one * (one + 1) // 2 + other - one - 1


def linked(points: Points, cut: float) -> Ints:
    """The cluster of each point, from 0, by average linkage below ``cut``; raises SemblanceError if memory is short."""
    if len(points.vector_ND) < 2:
        return np.zeros(len(points.vector_ND), np.int64)
    tree = linkage(distances(points), "average")
    return np.unique(fcluster(tree, cut, "distance"), return_inverse=True)[1].astype(np.int64)


def _means(vector_ND: Floats, label_N: Ints, count: int) -> Floats:
    sums = np.zeros((count, vector_ND.shape[1]))
    np.add.at(sums, label_N, vector_ND)
    return unit(sums)


def _attached(
    points: Points,
    label_N: Ints,
    loose: NDArray[np.bool_],
    large: NDArray[np.bool_],
    mean_CD: Floats,
    limit: float,
) -> Ints:
    """The cluster that each cluster ends in: itself, or for a loose one the nearest large one; nearest pairs first."""
    target = np.arange(len(large))
    small, big = np.flatnonzero(loose), np.flatnonzero(large)
    if not len(small) or not len(big):
        return target
    distance = 1 - mean_CD[small] @ mean_CD[big].T
    never: dict[int, set[int]] = {}
    for one, other in label_N[points.apart_K2]:
        never.setdefault(int(one), set()).add(int(other))
        never.setdefault(int(other), set()).add(int(one))
    members = {int(label): {int(label)} for label in big}
    for place in np.argsort(distance.min(1), kind="stable"):
        choices = np.flatnonzero(distance[place] <= limit)
        own = int(small[place])
        for choice in choices[np.argsort(distance[place][choices], kind="stable")]:
            joined = members[int(big[choice])]
            if not joined & never.get(own, set()):
                target[own] = big[choice]
                joined.add(own)
                break
    return target
