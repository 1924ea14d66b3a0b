"""People to sides: where everyone is connected to everyone, the cut that loses the fewest fakes.

Persons are nodes; a node weighs the videos that show nobody else, an edge the fakes that show its two ends (the
one's video with the other's face). A fake whose ends stand on two sides is lost. A side's size is what is left on
it: its nodes' and its inner edges' weights.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from semblance.manifests.splits.lower_bound import Edges, lower_bound

_ROUNDS: Final = 8  # of annealing, each with its own start
_STEPS: Final = 100_000  # a round, at most
_STEPS_EACH: Final = 2_000  # a round, for each node
_STRICT: Final = (30.0, 8.0, 2.0)  # fakes that a video outside the wishes is worth, by round: graphs differ
_PLACINGS: Final = 3**8  # up to so many all are tried
_EXCHANGED: Final = 150  # nodes up to which exchanges of two are tried
Rank = tuple[float, float, int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """``sides[i]`` is the place of node i's side among the wishes (0 is the remainder); ``lost`` fakes straddle,
    and no partition whose sides lie within half and twice their wishes can lose fewer than ``bound``.
    """

    sides: tuple[int, ...]
    sizes: tuple[int, ...]
    lost: int
    bound: int


def partition(weights: Sequence[int], edges: Edges, wishes: Sequence[Fraction], seed: int) -> Partition:
    """Divide the nodes into a remainder (side 0) and one side for each wish (1, 2).

    In this order: every wished side between half and twice its wish, or as near as can be found; the remainder at
    least half its share of what is kept, likewise (or the fewest losses could leave nothing to train on); the fewest
    fakes lost; nearest to the wishes. Exact up to eight nodes; else a search (simulated annealing, then the best
    moves and exchanges until none helps) that promises nothing: ``bound`` tells how far from the best it can be.
    Nodes without edges are laid last, where they fill what is wanting.
    """
    met = {i for pair in edges for i in pair}
    nodes = [i for i in range(len(weights)) if i in met]
    loners = [i for i in range(len(weights)) if i not in met]
    search = _Search(weights, edges, wishes, sum(weights[i] for i in loners))
    sides = search.best(nodes, seed)
    total = sum(weights) + sum(edges.values())
    for i, side in _filled(loners, weights, search.sizes(sides), wishes, total).items():
        sides[i] = side
    sizes = search.sizes(sides)
    lost = sum(weight for (i, j), weight in edges.items() if sides[i] != sides[j])
    within = all(wish / 2 <= size <= 2 * wish for size, wish in zip(sizes[1:], wishes, strict=True))
    bound = lower_bound(weights, edges, wishes, lost) if within else 0
    return Partition(sides=tuple(sides), sizes=tuple(sizes), lost=lost, bound=min(bound, lost))


class _Search:
    """A local search: who stands where, and what each node would win or lose by moving."""

    def __init__(self, weights: Sequence[int], edges: Edges, wishes: Sequence[Fraction], spare: int) -> None:
        self._weights = weights
        self._wishes = [float(wish) for wish in wishes]
        self._spare = spare  # weight that can fill any side afterwards
        self._near: list[dict[int, int]] = [{} for _ in weights]
        for (i, j), weight in edges.items():
            self._near[i][j] = self._near[j][i] = weight
        total = sum(weights) + sum(edges.values())
        self._total = float(total)
        self._floor = float((total - sum(wishes, Fraction(0))) / 2 / max(total, 1))  # remainder's, of what is kept

    def sizes(self, sides: Sequence[int]) -> list[int]:
        """Weight of each side; nodes that stand nowhere (-1) do not count."""
        sizes = [0] * (len(self._wishes) + 1)
        for i, side in enumerate(sides):
            if side >= 0:
                sizes[side] += self._weights[i]
                sizes[side] += sum(weight for j, weight in self._near[i].items() if j < i and sides[j] == side)
        return sizes

    def best(self, nodes: Sequence[int], seed: int) -> list[int]:
        """The best of several rounds, or of all placings where they are few; everyone else stands at -1."""
        if not nodes:
            return [-1] * len(self._weights)
        if (len(self._wishes) + 1) ** len(nodes) <= _PLACINGS:
            return self._best_of_all(nodes)
        found = [
            self._round(nodes, random.Random(f"{seed}-{number}"), _STRICT[number % len(_STRICT)])
            for number in range(_ROUNDS)
        ]
        return min(found)[1]

    def _best_of_all(self, nodes: Sequence[int]) -> list[int]:
        """The first placing of least rank, the later nodes' sides running fastest."""
        links = [(i, j, self._near[i][j]) for i in nodes for j in self._near[i] if i < j]
        sides = [-1] * len(self._weights)
        best: tuple[Rank, tuple[int, ...]] | None = None
        for placing in itertools.product(range(len(self._wishes) + 1), repeat=len(nodes)):
            sizes, lost = [0] * (len(self._wishes) + 1), 0
            for i, side in zip(nodes, placing, strict=True):
                sides[i] = side
                sizes[side] += self._weights[i]
            for i, j, weight in links:
                if sides[i] == sides[j]:
                    sizes[sides[i]] += weight
                else:
                    lost += weight
            if best is None or self._rank(sizes, lost) < best[0]:
                best = self._rank(sizes, lost), placing
        assert best is not None
        for i, side in zip(nodes, best[1], strict=True):
            sides[i] = side
        return sides

    def _round(self, nodes: Sequence[int], chance: random.Random, strict: float) -> tuple[Rank, list[int]]:
        """One annealing from a start by chance, then polished."""
        count = len(self._wishes) + 1
        shares = [wish / self._total for wish in self._wishes]
        sides = [-1] * len(self._weights)
        for i in nodes:
            sides[i] = chance.choices(range(count), [max(1.0 - sum(shares), 0.0), *shares])[0]
        touching = [[0] * count for _ in self._weights]  # fakes that node i shares with each side
        for i in nodes:
            for j, weight in self._near[i].items():
                touching[i][sides[j]] += weight
        sizes = self.sizes(sides)
        heat = float(max(sum(self._near[i].values()) for i in nodes))
        steps = min(_STEPS, _STEPS_EACH * len(nodes))
        cooling = (0.2 / heat) ** (1 / steps)
        penalty = self._penalty(sizes, strict)
        for _ in range(steps):
            heat *= cooling
            i = nodes[int(chance.random() * len(nodes))]
            old, new = sides[i], int(chance.random() * count)
            if old == new:
                continue
            moved = self._moved(sizes, i, old, new, touching)
            after = self._penalty(moved, strict)
            cost = touching[i][old] - touching[i][new] + after - penalty
            if cost <= 0 or chance.random() < math.exp(-cost / heat):
                self._move(i, new, sides, touching)
                sizes, penalty = moved, after
        return self._polish(nodes, sides, sizes, touching), sides

    def _moved(self, sizes: Sequence[int], i: int, old: int, new: int, touching: Sequence[Sequence[int]]) -> list[int]:
        """The sizes after node i went from ``old`` to ``new``."""
        moved = list(sizes)
        moved[old] -= self._weights[i] + touching[i][old]
        moved[new] += self._weights[i] + touching[i][new]
        return moved

    def _move(self, i: int, new: int, sides: list[int], touching: list[list[int]]) -> None:
        old, sides[i] = sides[i], new
        for j, weight in self._near[i].items():
            touching[j][old] -= weight
            touching[j][new] += weight

    def _polish(self, nodes: Sequence[int], sides: list[int], sizes: list[int], touching: list[list[int]]) -> Rank:
        """Single moves, and exchanges of two in a small graph, as long as one of them helps; the rank at the end."""
        lost = sum(sum(self._near[i].values()) - touching[i][sides[i]] for i in nodes) // 2
        best = self._rank(sizes, lost)
        improved = True
        while improved:
            improved = False
            for i in nodes:
                for new in range(len(sizes)):
                    old = sides[i]
                    moved = self._moved(sizes, i, old, new, touching)
                    after = lost + touching[i][old] - touching[i][new]
                    if new != old and self._rank(moved, after) < best:
                        self._move(i, new, sides, touching)
                        sizes, lost, best, improved = moved, after, self._rank(moved, after), True
            for place, i in enumerate(nodes if len(nodes) <= _EXCHANGED else ()):
                for j in nodes[place + 1 :]:
                    a, b = sides[i], sides[j]
                    if a == b:
                        continue
                    shared = self._near[i].get(j, 0)
                    moved = self._moved(self._moved(sizes, i, a, b, touching), j, b, a, touching)
                    moved[a] -= shared
                    moved[b] -= shared
                    after = lost + touching[i][a] - touching[i][b] + touching[j][b] - touching[j][a] + 2 * shared
                    if self._rank(moved, after) < best:
                        self._move(i, b, sides, touching)
                        self._move(j, a, sides, touching)
                        sizes, lost, best, improved = moved, after, self._rank(moved, after), True
        return best

    def _rank(self, sizes: Sequence[int], lost: int) -> Rank:
        """Least is best: outside the wishes, wanting in the remainder, fakes lost, far from the wishes."""
        outside, far = self._misfit(sizes)
        return outside, self._wanting(sizes), lost, far

    def _penalty(self, sizes: Sequence[int], strict: float) -> float:
        """What a misfit costs in the annealing, in fakes."""
        outside, far = self._misfit(sizes)
        return strict * (outside + self._wanting(sizes) / 2) + 0.001 * far

    def _wanting(self, sizes: Sequence[int]) -> float:
        """What the remainder lacks of half its share, once loners that no wished side needs are laid there."""
        needed = sum(max(wish / 2 - size, 0.0) for size, wish in zip(sizes[1:], self._wishes, strict=True))
        lack = self._floor * (sum(sizes) + self._spare) - sizes[0] - max(self._spare - needed, 0.0)
        return lack if lack > 1e-9 else 0.0

    def _misfit(self, sizes: Sequence[int]) -> tuple[float, float]:
        """How far the wished sides lie outside half and twice their wish, and from it, once loners fill them up."""
        least = most = under = over = 0.0
        for size, wish in zip(sizes[1:], self._wishes, strict=True):
            least += max(wish / 2 - size, 0.0)
            most += max(size - 2 * wish, 0.0)
            under += max(wish - size, 0.0)
            over += max(size - wish, 0.0)
        return max(least - self._spare, 0.0) + most, max(under - self._spare, 0.0) + over


def _filled(
    loners: Sequence[int], weights: Sequence[int], sizes: Sequence[int], wishes: Sequence[Fraction], total: int
) -> dict[int, int]:
    """A side for each node without edges, the heaviest first: to the wished side that lacks most, until each has half
    its wish; then to the remainder until it has; then to the wished sides, up to the wish.
    """
    held = list(sizes)
    sides = {}
    rest = total - sum(wishes)
    for i in sorted(loners, key=lambda i: (-weights[i], i)):
        wanting = [float(wish - size) / max(float(wish), 1e-9) for size, wish in zip(held[1:], wishes, strict=True)]
        place = max(range(len(wishes)), key=lambda side: (wanting[side], -side)) if wishes else -1
        fits = bool(wishes) and 2 * (wishes[place] - held[place + 1]) >= weights[i]
        side = place + 1 if fits and (wanting[place] > 1 / 2 or 2 * held[0] >= rest) else 0
        held[side] += weights[i]
        sides[i] = side
    return sides
