"""The graph of people, connected by the fakes that show two of them, and the split of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from semblance.manifests.ids import digest
from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.manifests.splits.balance import divide, outside_and_far
from semblance.manifests.splits.partition import partition
from semblance.manifests.splits.union import Groups

Row = Mapping[str, Any]  # a labelled row of the plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """``nodes``: the node of every video (by id) and person (as "person ID"). ``splits``: the split of every node.
    ``bound``: with sizes between half and twice the targets, no fewer fakes can join two splits.
    """

    nodes: Mapping[str, str]
    splits: Mapping[str, str]
    bound: int

    def of_video(self, row: Row) -> tuple[str, str | None]:
        """The split of a video's family, and its donor's if the donor is known."""
        donor = self.splits[self.nodes[f"person {row['donor_id']}"]] if row["donor_id"] else None
        return self.splits[self.nodes[row["video_id"]]], donor


def place(rows: Sequence[Row], shares: Sequence[float], seed: int) -> Placement:
    """A split for every person and every family of unknown people.

    Connected groups stay intact if they then fit. Otherwise the largest are broken up: one, then two, four and so on.
    """
    nodes = _nodes(rows)
    weights, edges = _graph(rows, nodes)
    order = sorted(weights, key=lambda name: digest(seed, name))
    groups = _connected(order, edges)
    heavy = sorted(groups, key=lambda group: -_weight(group, weights, edges))
    sizes = [_weight(group, weights, edges) for group in groups]
    splits = divide(sizes, shares)
    targets = [
        (split, Fraction(str(share)) * sum(sizes))
        for split, share in zip(TRAIN_VAL_TEST, shares, strict=True)
        if share > 0
    ]
    best = {name: str(split) for group, split in zip(groups, splits, strict=True) for name in group}
    if _fits(sizes, splits, targets[1:]):
        return Placement(nodes=nodes, splits=best, bound=0)
    several = sum(len(group) > 1 for group in heavy)
    least, bound = (Fraction(sum(sizes) + 1), Fraction(0)), 0
    for split_up in sorted({several, *(2**power for power in range(several.bit_length()))}):
        units = [[name] for group in heavy[:split_up] for name in group] + heavy[split_up:]
        number = {name: place for place, unit in enumerate(units) for name in unit}
        edges_between: defaultdict[tuple[int, int], int] = defaultdict(int)
        for (a, b), fakes in edges.items():
            i, j = sorted((number[a], number[b]))
            if i != j:
                edges_between[i, j] += fakes
        inner = [_weight(unit, weights, edges) for unit in units]
        partitioned = partition(inner, edges_between, [target for _, target in targets[1:]], seed)
        placed = {name: str(targets[partitioned.parts[place]][0]) for name, place in number.items()}
        rank = _outside(partitioned.sizes, [target for _, target in targets])
        if rank < least:
            least, best, bound = rank, placed, partitioned.bound
        if not any(least):
            break
    return Placement(nodes=nodes, splits=best, bound=bound)


def _nodes(rows: Sequence[Row]) -> dict[str, str]:
    """The node of every video (by id) and of every person (as "person ID").

    A node is a person, several people who are targets in one family, or a family of unknown people.
    """
    groups = Groups()
    for row in rows:
        family = f"family {row['family_id']}"
        if row["target_id"]:
            groups.join(family, f"person {row['target_id']}")
        if row["donor_id"]:
            groups.of(f"person {row['donor_id']}")
    nodes = {row["video_id"]: groups.of(f"family {row['family_id']}") for row in rows}
    return nodes | {name: groups.of(name) for name in groups.names() if name.startswith("person ")}


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


def _outside(sizes: Sequence[int], targets: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """How far all but the first are outside half and twice their targets; how far the first is below half its share."""
    outside = sum(
        (outside_and_far(size, target)[0] for size, target in zip(sizes[1:], targets[1:], strict=True)), Fraction(0)
    )
    share = targets[0] / max(sum(targets, Fraction(0)), Fraction(1))
    return outside, max(share / 2 * sum(sizes) - sizes[0], Fraction(0))


def _fits(sizes: Sequence[int], splits: Sequence[str], targets: Sequence[tuple[str, Fraction]]) -> bool:
    """Whether every split with a target is between half and twice that target."""
    totals = {
        name: sum(size for size, assigned in zip(sizes, splits, strict=True) if assigned == name) for name, _ in targets
    }
    return all(outside_and_far(totals[name], target)[0] == 0 for name, target in targets)


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
    """The number of videos that show nobody outside the group."""
    if len(group) == 1:
        return weights[group[0]]
    inside = set(group)
    return sum(weights[name] for name in group) + sum(
        fakes for (a, b), fakes in edges.items() if a in inside and b in inside
    )
