"""Whole groups to train, val and test, as near to the wished shares as they allow; pure numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from manifests.records import Split

Score = tuple[bool, bool, float, float, int, int]  # less is better
_JOINT_WORK: Final = 300_000  # states looked at before val and test are chosen in turn: part of a second


def divide(sizes: Sequence[int], fractions: Sequence[float]) -> list[Split]:
    """A side for each group; ``sizes`` in videos, ``fractions`` the shares of train, val and test.

    What counts, in this order: train, test and val, so far as they have a share, are not empty while there
    are groups; val and test lie between half and twice their wish, or as few videos outside as whole groups
    allow (both summed); they lie nearest to their wish (summed); they are larger, test first. Among equals
    the groups that come first leave train: groups in a seeded order make a random choice. Groups of size 0
    go to the first side with a share.

    Exact where the sums that val and test can reach together are few enough to be listed. Where they are
    many, groups are plenty, and each side in turn is exact on what the other has left.
    """
    total = sum(sizes)
    wishes = (fractions[1] * total, fractions[2] * total)  # val, test
    home: Split = "train" if fractions[0] > 0 else "val" if fractions[1] > 0 else "test"
    sides: list[Split] = [home] * len(sizes)
    groups = [place for place, size in enumerate(sizes) if size > 0]
    if fractions[0] > 0:
        few = _without_giants(groups, sizes, wishes)
        weights = [sizes[place] for place in few]
        most = sum(weights) - (len(few) == len(groups))  # a giant stays, or one group must
        moved = _jointly(weights, wishes, most) or _in_turn(weights, wishes, most)
        groups = few
    else:
        moved = _without_train([sizes[place] for place in groups], wishes)
    for place, side in moved.items():
        sides[groups[place]] = side
    return sides


def score(val: int, test: int, wishes: tuple[float, float]) -> Score:
    """How bad it is that val and test hold so many videos; rounded, so that shares like 0.1 can tie."""
    pairs = [(held, wish) for held, wish in zip((val, test), wishes, strict=True) if wish > 0]
    return (
        wishes[1] > 0 and not test,
        wishes[0] > 0 and not val,
        round(sum(max(wish / 2 - held, held - 2 * wish, 0.0) for held, wish in pairs), 6),
        round(sum(abs(held - wish) for held, wish in pairs), 6),
        -(val + test),
        -test,
    )


def _without_giants(groups: list[int], sizes: Sequence[int], wishes: tuple[float, float]) -> list[int]:
    """The groups without those that only train can hold well.

    A group over three times the larger wish overshoots twice that wish by more than val and test can lack
    together (half of each): where each side with a wish can have another group, it is better in train.
    """
    few = [place for place in groups if sizes[place] <= 3 * max(wishes)]
    return few if len(few) >= sum(wish > 0 for wish in wishes) else groups


def _jointly(weights: Sequence[int], wishes: tuple[float, float], most: int) -> dict[int, Split] | None:
    """Place -> val or test for the groups that leave train, at most ``most`` videos; None: too many sums.

    Sums over twice the wish are of use only where a single group makes them: without its smallest group
    such a side would lie nearer.
    """
    caps = [max(2 * wish, max(weights, default=0)) if wish > 0 else 0 for wish in wishes]
    states: dict[tuple[int, int], tuple[int, Split]] = {(0, 0): (-1, "train")}
    work = 0
    for place, weight in enumerate(weights):
        work += len(states)
        if work > _JOINT_WORK:
            return None
        for val, test in list(states):
            if val + test + weight <= most:
                if test + weight <= caps[1]:
                    states.setdefault((val, test + weight), (place, "test"))
                if val + weight <= caps[0]:
                    states.setdefault((val + weight, test), (place, "val"))
    val, test = min(states, key=lambda state: score(*state, wishes))
    moved: dict[int, Split] = {}
    while val or test:
        place, side = states[val, test]
        moved[place] = side
        val, test = (val - weights[place], test) if side == "val" else (val, test - weights[place])
    return moved


def _in_turn(weights: Sequence[int], wishes: tuple[float, float], most: int) -> dict[int, Split]:
    """The side with the larger wish, then the other; where there is not enough for both they share it."""
    scale = min(1.0, most / sum(wishes))
    moved: dict[int, Split] = {}
    sides: tuple[tuple[float, Split], tuple[float, Split]] = ((wishes[1], "test"), (wishes[0], "val"))
    for wish, side in sorted(sides, key=lambda one: -one[0]):
        if wish > 0:
            free = [place for place in range(len(weights)) if place not in moved]
            left = most - sum(weights[place] for place in moved)
            first = _sums([weights[place] for place in free], min(left, int(3 * wish)))
            best = min(first, key=lambda held: score(0, held, (0, wish * scale)))
            moved |= {free[place]: side for place in _chosen(first, [weights[place] for place in free], best)}
    return moved


def _without_train(weights: Sequence[int], wishes: tuple[float, float]) -> dict[int, Split]:
    """All groups to val or test."""
    total = sum(weights)
    if not min(wishes) > 0:
        return {}  # the one side is every group's home
    first = _sums(weights, total)
    best = min(first, key=lambda held: score(total - held, held, wishes))
    return dict.fromkeys(_chosen(first, weights, best), "test")


def _sums(weights: Sequence[int], most: int) -> dict[int, int]:
    """Every sum up to ``most`` that some of the weights make -> the last of the fewest first ones it needs.

    An exact subset sum: bit s of ``reach`` says whether the weights so far can make s.
    """
    first = {0: -1}
    reach, full = 1, (1 << most + 1) - 1
    for place, weight in enumerate(weights):
        new = reach << weight & full & ~reach
        reach |= new
        while new:
            lowest = new & -new
            first[lowest.bit_length() - 1] = place
            new ^= lowest
        if reach == full:
            break
    return first


def _chosen(first: dict[int, int], weights: Sequence[int], held: int) -> list[int]:
    """The places of the weights that make the sum ``held``."""
    places = []
    while held:
        places.append(first[held])
        held -= weights[first[held]]
    return places
