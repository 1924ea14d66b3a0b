"""Partition a graph of connected people so that the cut loses the fewest fakes.

Persons are nodes; a node weighs the videos that show nobody else, an edge the fakes that show its two ends (the
one's video with the other's face). A fake whose ends are in two parts is lost. A part's size is the weight of its
nodes and inner edges.
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

_ROUNDS: Final = 8  # of annealing, each from another start
_STEPS: Final = 100_000  # per round, at most
_STEPS_EACH: Final = 2_000  # per round and node
_STRICTNESS: Final = (30.0, 8.0, 2.0)  # fakes that a video outside the targets is worth, by round: graphs differ
_ASSIGNMENTS: Final = 3**8  # exhaustive search up to this many
_EXCHANGED: Final = 150  # exchanges of two nodes are tried up to this many nodes
Rank = tuple[float, float, int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """``parts[i]``: the index of node i's part (0 is the remainder, then the targets in order). ``lost``: fakes that
    join two parts. No partition with parts between half and twice their targets loses fewer than ``bound``.
    """

    parts: tuple[int, ...]
    sizes: tuple[int, ...]
    lost: int
    bound: int


def partition(weights: Sequence[int], edges: Edges, targets: Sequence[Fraction], seed: int) -> Partition:
    """Divide the nodes into a remainder (part 0) and one part for each target (1, 2).

    The criteria, most important first: every part with a target is between half and twice it, or as near as can be
    found; the remainder is at least half its share of what is kept (else the fewest losses could leave nothing to
    train on); the fewest fakes are lost; sizes are nearest to the targets. Exact up to eight nodes. Beyond, a search
    without guarantee: simulated annealing, then the best moves and exchanges until none helps. ``bound`` limits how far
    from the optimum it can be. Nodes without edges are placed last, where weight is missing.
    """
    connected = {i for pair in edges for i in pair}
    nodes = [i for i in range(len(weights)) if i in connected]
    isolated = [i for i in range(len(weights)) if i not in connected]
    search = _Search(weights, edges, targets, sum(weights[i] for i in isolated))
    parts = search.best(nodes, seed)
    total = sum(weights) + sum(edges.values())
    for i, part in _filled(isolated, weights, search.sizes(parts), targets, total).items():
        parts[i] = part
    sizes = search.sizes(parts)
    lost = sum(weight for (i, j), weight in edges.items() if parts[i] != parts[j])
    within = all(target / 2 <= size <= 2 * target for size, target in zip(sizes[1:], targets, strict=True))
    bound = lower_bound(weights, edges, targets, lost) if within else 0
    return Partition(parts=tuple(parts), sizes=tuple(sizes), lost=lost, bound=min(bound, lost))


class _Search:
    """A local search: the part of each node, and what each node would gain or lose by moving."""

    def __init__(self, weights: Sequence[int], edges: Edges, targets: Sequence[Fraction], spare: int) -> None:
        self._weights = weights
        self._targets = [float(target) for target in targets]
        self._spare = spare  # weight that can fill any part afterwards
        self._near: list[dict[int, int]] = [{} for _ in weights]
        for (i, j), weight in edges.items():
            self._near[i][j] = self._near[j][i] = weight
        total = sum(weights) + sum(edges.values())
        self._total = float(total)
        self._floor = float((total - sum(targets, Fraction(0))) / 2 / max(total, 1))  # remainder's, of what is kept

    def sizes(self, parts: Sequence[int]) -> list[int]:
        """Weight of each part; nodes without a part (-1) do not count."""
        sizes = [0] * (len(self._targets) + 1)
        for i, part in enumerate(parts):
            if part >= 0:
                sizes[part] += self._weights[i]
                sizes[part] += sum(weight for j, weight in self._near[i].items() if j < i and parts[j] == part)
        return sizes

    def best(self, nodes: Sequence[int], seed: int) -> list[int]:
        """The best of several rounds, or of all assignments if they are few; other nodes get -1."""
        if not nodes:
            return [-1] * len(self._weights)
        if (len(self._targets) + 1) ** len(nodes) <= _ASSIGNMENTS:
            return self._best_of_all(nodes)
        rounds = [
            self._round(nodes, random.Random(f"{seed}-{number}"), _STRICTNESS[number % len(_STRICTNESS)])
            for number in range(_ROUNDS)
        ]
        return min(rounds)[1]

    def _best_of_all(self, nodes: Sequence[int]) -> list[int]:
        """The first assignment of least rank, the later nodes' parts running fastest."""
        links = [(i, j, self._near[i][j]) for i in nodes for j in self._near[i] if i < j]
        parts = [-1] * len(self._weights)
        best: tuple[Rank, tuple[int, ...]] | None = None
        for assignment in itertools.product(range(len(self._targets) + 1), repeat=len(nodes)):
            sizes, lost = [0] * (len(self._targets) + 1), 0
            for i, part in zip(nodes, assignment, strict=True):
                parts[i] = part
                sizes[part] += self._weights[i]
            for i, j, weight in links:
                if parts[i] == parts[j]:
                    sizes[parts[i]] += weight
                else:
                    lost += weight
            if best is None or self._rank(sizes, lost) < best[0]:
                best = self._rank(sizes, lost), assignment
        assert best is not None
        for i, part in zip(nodes, best[1], strict=True):
            parts[i] = part
        return parts

    def _round(self, nodes: Sequence[int], rng: random.Random, strictness: float) -> tuple[Rank, list[int]]:
        """One annealing from a random start, then polished."""
        count = len(self._targets) + 1
        shares = [target / self._total for target in self._targets]
        parts = [-1] * len(self._weights)
        for i in nodes:
            parts[i] = rng.choices(range(count), [max(1.0 - sum(shares), 0.0), *shares])[0]
        touching = [[0] * count for _ in self._weights]  # fakes that node i shares with each part
        for i in nodes:
            for j, weight in self._near[i].items():
                touching[i][parts[j]] += weight
        sizes = self.sizes(parts)
        heat = float(max(sum(self._near[i].values()) for i in nodes))
        steps = min(_STEPS, _STEPS_EACH * len(nodes))
        cooling = (0.2 / heat) ** (1 / steps)
        penalty = self._penalty(sizes, strictness)
        for _ in range(steps):
            heat *= cooling
            i = nodes[int(rng.random() * len(nodes))]
            old, new = parts[i], int(rng.random() * count)
            if old == new:
                continue
            moved = self._moved(sizes, i, old, new, touching)
            after = self._penalty(moved, strictness)
            cost = touching[i][old] - touching[i][new] + after - penalty
            if cost <= 0 or rng.random() < math.exp(-cost / heat):
                self._move(i, new, parts, touching)
                sizes, penalty = moved, after
        return self._polish(nodes, parts, sizes, touching), parts

    def _moved(self, sizes: Sequence[int], i: int, old: int, new: int, touching: Sequence[Sequence[int]]) -> list[int]:
        """The sizes after node i moved from ``old`` to ``new``."""
        moved = list(sizes)
        moved[old] -= self._weights[i] + touching[i][old]
        moved[new] += self._weights[i] + touching[i][new]
        return moved

    def _move(self, i: int, new: int, parts: list[int], touching: list[list[int]]) -> None:
        old, parts[i] = parts[i], new
        for j, weight in self._near[i].items():
            touching[j][old] -= weight
            touching[j][new] += weight

    def _polish(self, nodes: Sequence[int], parts: list[int], sizes: list[int], touching: list[list[int]]) -> Rank:
        """Apply single moves, and exchanges of two in a small graph, while one helps; the rank at the end."""
        lost = sum(sum(self._near[i].values()) - touching[i][parts[i]] for i in nodes) // 2
        best = self._rank(sizes, lost)
        improved = True
        while improved:
            improved = False
            for i in nodes:
                for new in range(len(sizes)):
                    old = parts[i]
                    moved = self._moved(sizes, i, old, new, touching)
                    after = lost + touching[i][old] - touching[i][new]
                    if new != old and self._rank(moved, after) < best:
                        self._move(i, new, parts, touching)
                        sizes, lost, best, improved = moved, after, self._rank(moved, after), True
            for place, i in enumerate(nodes if len(nodes) <= _EXCHANGED else ()):
                for j in nodes[place + 1 :]:
                    a, b = parts[i], parts[j]
                    if a == b:
                        continue
                    shared = self._near[i].get(j, 0)
                    moved = self._moved(self._moved(sizes, i, a, b, touching), j, b, a, touching)
                    moved[a] -= shared
                    moved[b] -= shared
                    after = lost + touching[i][a] - touching[i][b] + touching[j][b] - touching[j][a] + 2 * shared
                    if self._rank(moved, after) < best:
                        self._move(i, b, parts, touching)
                        self._move(j, a, parts, touching)
                        sizes, lost, best, improved = moved, after, self._rank(moved, after), True
        return best

    def _rank(self, sizes: Sequence[int], lost: int) -> Rank:
        """Outside the targets, missing in the remainder, fakes lost, far from the targets; the least is best."""
        outside, far = self._misfit(sizes)
        return outside, self._shortfall(sizes), lost, far

    def _penalty(self, sizes: Sequence[int], strictness: float) -> float:
        """What a misfit costs in the annealing, in fakes."""
        outside, far = self._misfit(sizes)
        return strictness * (outside + self._shortfall(sizes) / 2) + 0.001 * far

    def _shortfall(self, sizes: Sequence[int]) -> float:
        """What the remainder misses of half its share after it got the isolated nodes that no other part needs."""
        needed = sum(max(target / 2 - size, 0.0) for size, target in zip(sizes[1:], self._targets, strict=True))
        missing = self._floor * (sum(sizes) + self._spare) - sizes[0] - max(self._spare - needed, 0.0)
        return missing if missing > 1e-9 else 0.0

    def _misfit(self, sizes: Sequence[int]) -> tuple[float, float]:
        """How far parts are outside half and twice their targets, and from the targets, with isolated nodes placed."""
        least = most = under = over = 0.0
        for size, target in zip(sizes[1:], self._targets, strict=True):
            least += max(target / 2 - size, 0.0)
            most += max(size - 2 * target, 0.0)
            under += max(target - size, 0.0)
            over += max(size - target, 0.0)
        return max(least - self._spare, 0.0) + most, max(under - self._spare, 0.0) + over


def _filled(
    isolated: Sequence[int], weights: Sequence[int], sizes: Sequence[int], targets: Sequence[Fraction], total: int
) -> dict[int, int]:
    """A part for each node without edges, the heaviest first.

    Each goes to the part that is furthest below its target, until all have half of it; then to the remainder, until it
    has half its share; then to the other parts, up to their targets.
    """
    sizes_now = list(sizes)
    parts = {}
    remainder = total - sum(targets)
    for i in sorted(isolated, key=lambda i: (-weights[i], i)):
        missing = [
            float(target - size) / max(float(target), 1e-9) for size, target in zip(sizes_now[1:], targets, strict=True)
        ]
        place = max(range(len(targets)), key=lambda part: (missing[part], -part)) if targets else -1
        fits = bool(targets) and 2 * (targets[place] - sizes_now[place + 1]) >= weights[i]
        part = place + 1 if fits and (missing[place] > 1 / 2 or 2 * sizes_now[0] >= remainder) else 0
        sizes_now[part] += weights[i]
        parts[i] = part
    return parts
