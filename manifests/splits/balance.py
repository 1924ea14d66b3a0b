"""Groups to sides: whole groups, weighed in videos, as near to the wished shares as they allow."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Final

import numpy as np

from semblance.manifests.records import TRAIN_VAL_TEST, Split

Group = tuple[int, int]  # index, weight
_STEPS: Final = 100_000  # of the joint search: a second or two


def divide(sizes: Sequence[int], fractions: Sequence[float]) -> list[Split]:
    """A side for each group, by what the groups weigh.

    ``fractions`` are the shares of train, val and test. In this order: the remainder (train, where it has a
    share) and every other side with a share get a group, while there are enough; each stands between half and
    twice its wish, or as near as whole groups allow; then nearest to the wish. Ties prefer the larger side,
    then the groups that come first. Groups without weight go to the remainder. Exact for each side after the
    other; exact for both together too, unless the search is too long (more than about a dozen heavy groups,
    whose sums then lie close).
    """
    shares = [(side, Fraction(str(share))) for side, share in zip(TRAIN_VAL_TEST, fractions, strict=True) if share > 0]
    sides: list[Split] = [shares[0][0]] * len(sizes)
    groups = [(index, size) for index, size in enumerate(sizes) if size > 0]
    total = sum(sizes)
    names = [side for side, _ in reversed(shares[1:])]  # test, then val
    wishes = [share * total for _, share in reversed(shares[1:])]
    if not groups or not wishes:
        return sides
    chosen = _one_after_other(groups, wishes)
    sums = [sum(sizes[index] for index in indices) for indices in chosen]
    if sums != [max(1, floor(wish + Fraction(1, 2))) for wish in wishes] or sum(sums) == total:
        chosen = _together(groups, wishes) or chosen
    for name, indices in zip(names, chosen, strict=True):
        for index in indices:
            sides[index] = name
    return sides


def outside_and_far(weight: int, wish: Fraction) -> tuple[Fraction, Fraction]:
    """How far a side's weight lies outside half and twice its wish, and how far from the wish."""
    return max(Fraction(0), wish / 2 - weight, weight - 2 * wish), abs(weight - wish)


def _cap(groups: Sequence[Group], wish: Fraction) -> int:
    """No best side weighs more: with one group fewer it would still be over twice its wish."""
    return int(2 * wish) + max(size for _, size in groups)


def _one_after_other(groups: Sequence[Group], wishes: Sequence[Fraction]) -> list[list[int]]:
    """The best groups for each wish in turn. The lightest are kept for the sides to come, one for each."""
    chosen: list[list[int]] = []
    free = list(groups)
    for place, wish in enumerate(wishes):
        keep = min(len(wishes) - place, len(free) - 1)
        kept = {index for index, _ in sorted(free, key=lambda group: (group[1], -group[0]))[:keep]}
        open_ = [group for group in free if group[0] not in kept]
        taken = _nearest_subset(open_, wish) if keep > 0 else []
        chosen.append(taken)
        free = [group for group in free if group[0] not in set(taken)]
    return chosen


def _nearest_subset(groups: Sequence[Group], wish: Fraction) -> list[int]:
    """Indices of the groups that weigh best for one wish, and more than 0 together.

    An exact subset sum: bit s of ``reach`` says whether the groups so far can weigh s together, and
    ``last[s]`` is the place of the group that made it so: s less that group was reached before.
    """
    mask = (1 << (_cap(groups, wish) + 1)) - 1
    ideal = max(1, floor(wish + Fraction(1, 2)))
    reach, last = 1, np.full(_cap(groups, wish) + 1, -1)
    for place, (_, size) in enumerate(groups):
        fresh = (reach << size) & mask & ~reach
        if fresh:
            reach |= fresh
            packed = np.frombuffer(fresh.to_bytes(len(last) // 8 + 1, "little"), np.uint8)
            last[np.flatnonzero(np.unpackbits(packed, bitorder="little"))] = place
        if ideal < len(last) and last[ideal] >= 0:
            break
    left = min(np.flatnonzero(last >= 0).tolist(), key=lambda weight: (outside_and_far(weight, wish), -weight))
    chosen = []
    while left:
        index, size = groups[last[left]]
        chosen.append(index)
        left -= size
    return chosen


def _together(groups: Sequence[Group], wishes: Sequence[Fraction]) -> list[list[int]] | None:
    """The best groups for all wishes at once; None where the search would take more than ``_STEPS``.

    ``came[sums]`` is how the sides' sums were first reached: the sums before, the group, its side.
    """
    caps = [_cap(groups, wish) for wish in wishes]
    start = (0,) * len(wishes)
    came: dict[tuple[int, ...], tuple[tuple[int, ...], int, int]] = {start: (start, -1, -1)}
    steps = 0
    for index, size in groups:
        steps += len(came)
        if steps > _STEPS:
            return None
        for sums in list(came):
            for side, cap in enumerate(caps):
                if sums[side] + size <= cap:
                    came.setdefault((*sums[:side], sums[side] + size, *sums[side + 1 :]), (sums, index, side))
    total = sum(size for _, size in groups)
    best = min(came, key=lambda sums: _rank(sums, wishes, total))
    chosen: list[list[int]] = [[] for _ in wishes]
    while best != start:
        best, index, side = came[best]
        chosen[side].append(index)
    return chosen


def _rank(sums: Sequence[int], wishes: Sequence[Fraction], total: int) -> tuple[object, ...]:
    """Least is best: see ``divide``."""
    costs = [outside_and_far(weight, wish) for weight, wish in zip(sums, wishes, strict=True)]
    empty = [sum(sums) == total, sum(weight == 0 for weight in sums)]
    return (*empty, sum(outside for outside, _ in costs), sum(far for _, far in costs), -sum(sums), [-s for s in sums])
