"""Divide groups of videos into splits, never cutting a group, as near to the target shares as possible."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Final

import numpy as np

from semblance.manifests.records import TRAIN_VAL_TEST, Split

Group = tuple[int, int]  # index, weight
_STEPS: Final = 100_000  # of the joint search: one or two seconds


def divide(sizes: Sequence[int], fractions: Sequence[float]) -> list[Split]:
    """A split for each group, from the groups' weights.

    ``fractions`` are the shares of train, val and test. The criteria, most important first: the remainder (train, if
    it has a share) and every other split with a share get a group, if there are enough; each split weighs between half
    and twice its target, or as near as the groups allow; it is as near to the target as possible. Ties prefer the
    larger split, then the groups that come first. Groups without weight go to the remainder. The result is optimal for
    one split after the other. It is optimal for both jointly unless the search is too long: with more than about a
    dozen heavy groups, whose sums are then close together.
    """
    shares = [
        (split, Fraction(str(share))) for split, share in zip(TRAIN_VAL_TEST, fractions, strict=True) if share > 0
    ]
    splits: list[Split] = [shares[0][0]] * len(sizes)
    groups = [(index, size) for index, size in enumerate(sizes) if size > 0]
    total = sum(sizes)
    names = [split for split, _ in reversed(shares[1:])]  # test, then val
    targets = [share * total for _, share in reversed(shares[1:])]
    if not groups or not targets:
        return splits
    selected = _greedy(groups, targets)
    sums = [sum(sizes[index] for index in indices) for indices in selected]
    if sums != [max(1, floor(target + Fraction(1, 2))) for target in targets] or sum(sums) == total:
        selected = _joint_search(groups, targets) or selected
    for name, indices in zip(names, selected, strict=True):
        for index in indices:
            splits[index] = name
    return splits


def outside_and_far(weight: int, target: Fraction) -> tuple[Fraction, Fraction]:
    """How far a split's weight lies outside half and twice its target, and how far from the target."""
    return max(Fraction(0), target / 2 - weight, weight - 2 * target), abs(weight - target)


def _cap(groups: Sequence[Group], target: Fraction) -> int:
    """An upper bound on a best split's weight: above it, one group fewer would still exceed twice the target."""
    return int(2 * target) + max(size for _, size in groups)


def _greedy(groups: Sequence[Group], targets: Sequence[Fraction]) -> list[list[int]]:
    """The best groups for each target in turn. The lightest are reserved, one for each later split."""
    selected: list[list[int]] = []
    free = list(groups)
    for place, target in enumerate(targets):
        reserve = min(len(targets) - place, len(free) - 1)
        reserved = {index for index, _ in sorted(free, key=lambda group: (group[1], -group[0]))[:reserve]}
        available = [group for group in free if group[0] not in reserved]
        subset = _nearest_subset(available, target) if reserve > 0 else []
        selected.append(subset)
        free = [group for group in free if group[0] not in set(subset)]
    return selected


def _nearest_subset(groups: Sequence[Group], target: Fraction) -> list[int]:
    """Indices of the groups whose total is best for one target, and more than 0.

    An exact subset sum: bit s of ``reach`` says whether the groups so far can weigh s in total, and
    ``last[s]`` is the position of the group that made it possible: s without that group was reachable before.
    """
    mask = (1 << (_cap(groups, target) + 1)) - 1
    ideal = max(1, floor(target + Fraction(1, 2)))
    reach, last = 1, np.full(_cap(groups, target) + 1, -1)
    for place, (_, size) in enumerate(groups):
        fresh = (reach << size) & mask & ~reach
        if fresh:
            reach |= fresh
            packed = np.frombuffer(fresh.to_bytes(len(last) // 8 + 1, "little"), np.uint8)
            last[np.flatnonzero(np.unpackbits(packed, bitorder="little"))] = place
        if ideal < len(last) and last[ideal] >= 0:
            break
    left = min(np.flatnonzero(last >= 0).tolist(), key=lambda weight: (outside_and_far(weight, target), -weight))
    selected = []
    while left:
        index, size = groups[last[left]]
        selected.append(index)
        left -= size
    return selected


def _joint_search(groups: Sequence[Group], targets: Sequence[Fraction]) -> list[list[int]] | None:
    """The best groups for all targets jointly; None if the search would take more than ``_STEPS``.

    ``reached_from[sums]`` is how the splits' sums were first reached: the previous sums, the group, its split.
    """
    caps = [_cap(groups, target) for target in targets]
    start = (0,) * len(targets)
    reached_from: dict[tuple[int, ...], tuple[tuple[int, ...], int, int]] = {start: (start, -1, -1)}
    steps = 0
    for index, size in groups:
        steps += len(reached_from)
        if steps > _STEPS:
            return None
        for sums in list(reached_from):
            for split, cap in enumerate(caps):
                if sums[split] + size <= cap:
                    reached_from.setdefault(
                        (*sums[:split], sums[split] + size, *sums[split + 1 :]), (sums, index, split)
                    )
    total = sum(size for _, size in groups)
    best = min(reached_from, key=lambda sums: _rank(sums, targets, total))
    selected: list[list[int]] = [[] for _ in targets]
    while best != start:
        best, index, split = reached_from[best]
        selected[split].append(index)
    return selected


def _rank(sums: Sequence[int], targets: Sequence[Fraction], total: int) -> tuple[object, ...]:
    """The criteria of ``divide``; the least is best."""
    costs = [outside_and_far(weight, target) for weight, target in zip(sums, targets, strict=True)]
    empty = [sum(sums) == total, sum(weight == 0 for weight in sums)]
    return (*empty, sum(outside for outside, _ in costs), sum(far for _, far in costs), -sum(sums), [-s for s in sums])
