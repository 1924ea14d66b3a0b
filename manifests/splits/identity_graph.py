"""People to sides: who is connected to whom by the fakes that show two of them, and who must stand together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from semblance.manifests.records import TRAIN_VAL_TEST, digest
from semblance.manifests.splits.balance import divide, outside_and_far
from semblance.manifests.splits.partition import partition

Row = Mapping[str, Any]  # of the plan, labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """``nodes``: the node of every video (by id) and person (as "person ID"); ``sides``: the side of every node;
    ``bound``: no placing within half and twice the wished sizes can leave fewer fakes on two sides.
    """

    nodes: Mapping[str, str]
    sides: Mapping[str, str]
    bound: int

    def of_video(self, row: Row) -> tuple[str, str | None]:
        """The side of a video's family, and its donor's where it is known."""
        donor = self.sides[self.nodes[f"person {row['donor_id']}"]] if row["donor_id"] else None
        return self.sides[self.nodes[row["video_id"]]], donor


def place(rows: Sequence[Row], shares: Sequence[float], seed: int) -> Placement:
    """A side for every person and every family of unknown people.

    Connected groups stay whole where they then fit; else the largest are broken up: one, then two, four and so on.
    """
    nodes = _nodes(rows)
    weights, edges = _graph(rows, nodes)
    order = sorted(weights, key=lambda name: digest(seed, name))
    groups = _connected(order, edges)
    heavy = sorted(groups, key=lambda group: -_weight(group, weights, edges))
    sizes = [_weight(group, weights, edges) for group in groups]
    sides = divide(sizes, shares)
    wishes = [
        (side, Fraction(str(share)) * sum(sizes))
        for side, share in zip(TRAIN_VAL_TEST, shares, strict=True)
        if share > 0
    ]
    best = {name: str(side) for group, side in zip(groups, sides, strict=True) for name in group}
    if _fits(sizes, sides, wishes[1:]):
        return Placement(nodes=nodes, sides=best, bound=0)
    several = sum(len(group) > 1 for group in heavy)
    least, bound = (Fraction(sum(sizes) + 1), Fraction(0)), 0
    for broken in sorted({several, *(2**power for power in range(several.bit_length()))}):
        units = [[name] for part in heavy[:broken] for name in part] + heavy[broken:]
        number = {name: place for place, unit in enumerate(units) for name in unit}
        links: defaultdict[tuple[int, int], int] = defaultdict(int)
        for (a, b), fakes in edges.items():
            i, j = sorted((number[a], number[b]))
            if i != j:
                links[i, j] += fakes
        inner = [_weight(unit, weights, edges) for unit in units]
        done = partition(inner, links, [wish for _, wish in wishes[1:]], seed)
        placed = {name: str(wishes[done.sides[place]][0]) for name, place in number.items()}
        rank = _outside(done.sizes, [wish for _, wish in wishes])
        if rank < least:
            least, best, bound = rank, placed, done.bound
        if not any(least):
            break
    return Placement(nodes=nodes, sides=best, bound=bound)


def _nodes(rows: Sequence[Row]) -> dict[str, str]:
    """The node of every video (by id) and of every person (as "person ID"): a person, people whom one family
    shows as its target, or a family of unknown people.
    """
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for row in rows:
        family = f"family {row['family_id']}"
        if row["target_id"]:
            a, b = find(family), find(f"person {row['target_id']}")
            parent[max(a, b)] = min(a, b)
        if row["donor_id"]:
            find(f"person {row['donor_id']}")
    nodes = {row["video_id"]: find(f"family {row['family_id']}") for row in rows}
    return nodes | {name: find(name) for name in list(parent) if name.startswith("person ")}


def _graph(rows: Sequence[Row], nodes: dict[str, str]) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Node -> videos that show no other node; pair of nodes -> fakes that show both."""
    weights = dict.fromkeys(nodes.values(), 0)
    edges: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        home = nodes[row["video_id"]]
        donor = nodes[f"person {row['donor_id']}"] if row["donor_id"] else home
        if row["fault"] is not None:
            continue
        if donor == home:
            weights[home] += 1
        else:
            edges[min(home, donor), max(home, donor)] += 1
    return weights, dict(edges)


def _outside(sizes: Sequence[int], wishes: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """How far all but the first lie outside half and twice their wishes; what it lacks of half its share of all."""
    outside = sum(
        (outside_and_far(size, wish)[0] for size, wish in zip(sizes[1:], wishes[1:], strict=True)), Fraction(0)
    )
    share = wishes[0] / max(sum(wishes, Fraction(0)), Fraction(1))
    return outside, max(share / 2 * sum(sizes) - sizes[0], Fraction(0))


def _fits(sizes: Sequence[int], sides: Sequence[str], wishes: Sequence[tuple[str, Fraction]]) -> bool:
    """Whether every side that has a wish lies within half and twice of it."""
    held = {name: sum(size for size, own in zip(sizes, sides, strict=True) if own == name) for name, _ in wishes}
    return all(outside_and_far(held[name], wish)[0] == 0 for name, wish in wishes)


def _connected(order: Sequence[str], edges: dict[tuple[str, str], int]) -> list[list[str]]:
    """Groups of nodes that fakes connect, in the order of their first nodes."""
    near: defaultdict[str, list[str]] = defaultdict(list)
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    groups: list[list[str]] = []
    seen: set[str] = set()
    for start in order:
        if start in seen:
            continue
        group, front = [], [start]
        seen.add(start)
        while front:
            name = front.pop()
            group.append(name)
            fresh = sorted(set(near[name]) - seen)
            seen |= set(fresh)
            front += fresh
        groups.append(group)
    return groups


def _weight(group: Sequence[str], weights: dict[str, int], edges: dict[tuple[str, str], int]) -> int:
    """Videos that show nobody outside the group."""
    if len(group) == 1:
        return weights[group[0]]
    inside = set(group)
    return sum(weights[name] for name in group) + sum(
        fakes for (a, b), fakes in edges.items() if a in inside and b in inside
    )
