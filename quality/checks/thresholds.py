"""Other limits for the gates: the strictest that keep a wished share of the faces, and what they would keep."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality.checks import gated_faces
from semblance.quality.checks.gate_choices import Choice, Key, choose, groups
from semblance.quality.checks.gated_faces import ENDS, KEYS, End, Faces, Limits
from semblance.quality.checks.shares import NAMES

KEEP: Final = 0.9
CONFIDENCE: Final = "confidence"  # a looser one lets in what is no face, so it moves only where it is asked to
_LEAST_SEARCH: Final = 12  # px, the least that detect.min_face takes
_DIGITS: Final = 3  # significant ones of a proposed limit
_TRIES: Final = 20
_STEPS: Final = 1000  # of the share that each gate alone keeps, in search of the limits that together keep enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One limit: as it is, as this gate alone would keep the wished share, and as all gates together would.

    ``keeps_now`` and ``keeps_alone``: label -> share of the base kept by this limit alone. ``moves``: whether it may
    change.
    """

    name: str
    key: str
    moves: bool
    now: float | None
    alone: float | None
    together: float | None
    keeps_now: Mapping[str, float]
    keeps_alone: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What is proposed for one build. ``base``: label -> faces that pass the gates that do not move; the shares are of
    these. ``groups``: (by, group) -> faces that any limit decides. ``searched``: the smallest face, in px, that the
    detector looked for; ``search``: the one that a lower limit of face size asks for; both None where it asks for none.
    """

    keep: float
    base: Mapping[str, int]
    groups: Mapping[Key, int]
    proposals: tuple[Proposal, ...]
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
    searched: int | None
    search: int | None

    @property
    def settings(self) -> tuple[str, ...]:
        """The values of ``--set`` that keep the wished share together; none where the present limits do."""
        return self.choices[-1].settings if len(self.choices) > 1 else ()


def propose(out: str, keep: float = KEEP, *, move: Collection[str] = (), stricter: bool = False) -> Thresholds:
    """Limits that keep at least the share ``keep`` of the faces of each label.

    They are never stricter than the present ones unless ``stricter``, and a gate that is off stays off. ``move``: keys
    of the gates that may change; empty: all but confidence.

    Raises UsageError for a share or key out of range, SemblanceError for a build that is not finished, has no faces or
    was encoded once more.
    """
    if not 0 < keep <= 1:
        raise UsageError(f"--keep takes a share above 0 and up to 1, such as 0.9, not {keep:g}.")
    if unknown := sorted(set(move) - set(KEYS)):
        raise UsageError(f"There is no gate {unknown[0]!r}; choose from {', '.join(KEYS)}.")
    recipe = build_files.finished(out).get("recipe", {})
    if (recipe.get("recompress") or {}).get("crf") is not None:
        raise SemblanceError(
            f"{out} was encoded once more (recompress.crf), and its gates judged the faces before; use the build "
            "without it."
        )
    if CONFIDENCE in move and recipe.get("faces") == "largest":
        raise UsageError("Under `faces: largest` the confidence decides which face is the largest; leave it as it is.")
    gates = recipe.get("gates", {})
    faces = gated_faces.read(out, gates)
    if not faces.table.height:
        raise SemblanceError(f"{out} has no faces that a gate could judge; look at column status of its videos.")
    moving = [end for end in ENDS if (end.key in move if move else end.key != CONFIDENCE)]
    return _Search(faces, keep, moving, stricter).result(recipe)


class _Search:
    """The search on the faces of one build."""

    def __init__(self, faces: Faces, keep: float, moving: list[End], stricter: bool) -> None:
        self.faces, self.keep, self.moving, self.stricter = faces, keep, moving, stricter
        self.label, self.labels = faces.table["label"].to_numpy(), faces.labels
        self.base = faces.passing(faces.now, [end for end in ENDS if end not in moving]) & ~faces.fixed
        self._sorted = self._sort()

    def result(self, recipe: Mapping[str, Any]) -> Thresholds:
        now, alone = self.faces.now, {end: self.alone(end, self.keep) for end in ENDS}
        together = self.together()
        changed = [end for end in self.moving if alone[end] != now[end]]
        inside = groups(self.faces)
        choices = [choose(self.faces, inside, "now", {})]
        choices += [choose(self.faces, inside, end.name, {end: alone[end]}) for end in changed]
        moved = {end: limit for end, limit in together.items() if limit != now[end]}
        if moved:
            choices.append(choose(self.faces, inside, "together", moved))
        searched, search = _searched(recipe, moved)
        names = [self.proposal(end, alone[end], together[end]) for end in ENDS]
        return Thresholds(
            keep=self.keep,
            base={NAMES[label]: int((self.base & (self.label == label)).sum()) for label in self.labels},
            groups={key: int(own.sum()) for key, own in inside.items()},
            proposals=tuple(names),
            choices=tuple(choices) if moved else tuple(choices[:1]),
            notes=tuple(self.notes(together)),
            searched=searched,
            search=search,
        )

    def alone(self, end: End, share: float) -> float | None:
        """The strictest round limit at which this gate alone keeps ``share`` of the base of each label; the present one
        if that is looser. None: the gate is off, and stays so.
        """
        now = self.faces.now[end]
        if now is None:
            return None
        orders = [self._order(end, label, share) for label in self.labels]
        known = [limit for limit in orders if limit is not None]
        if not known:
            return now
        proposed = _round(min(known) if end.side == "low" else max(known), end, self._sorted[end, None][0])
        other = [self.faces.now[one] for one in ENDS if one.key == end.key and one != end]
        bounds = other if self.stricter else [now]
        for bound in bounds:  # no stricter than the present limit, or at least not beyond that of the other end
            if bound is not None and not end.looser(proposed, bound):
                return bound
        return proposed

    def _order(self, end: End, label: int, share: float) -> float | None:
        """The value of the last face of a label that must pass for ``share`` of its base to; None if none is known."""
        known, faces = self._sorted[end, label]
        needed = max(math.ceil(share * faces - 1e-9) - (faces - len(known)), 1)  # faces of unknown value pass
        if not len(known):
            return None
        return float(known[-needed] if end.side == "low" else known[needed - 1])

    def _sort(self) -> dict[tuple[End, int | None], tuple[NDArray[np.float64], int]]:
        """The known values of each end in order, and the number of faces: of each label's base, and of all (None)."""
        found = {}
        for end in ENDS:
            values, base = self.faces.values[end.column], self._base(end)
            for label in (None, *self.labels):
                inside = values if label is None else values[base & (self.label == label)]
                found[end, label] = np.sort(inside[np.isfinite(inside)]), len(inside)
        return found

    def _base(self, end: End) -> NDArray[np.bool_]:
        """The faces that shares of this gate are of: those that pass the gates that stay; all, for one that stays."""
        return self.base if end in self.moving else ~self.faces.fixed

    def together(self) -> Limits:
        """The limits of the least share, the same for each gate alone, at which all gates together keep enough."""
        least, most = math.ceil(self.keep * _STEPS - 1e-9), _STEPS
        while least < most:
            middle = (least + most) // 2
            least, most = (least, middle) if self.enough(self.limits(middle / _STEPS)) else (middle + 1, most)
        return self.limits(least / _STEPS)

    def limits(self, share: float) -> dict[End, float | None]:
        return {end: self.alone(end, share) if end in self.moving else self.faces.now[end] for end in ENDS}

    def enough(self, limits: Limits) -> bool:
        """Whether all gates together keep the wished share of the base of each label, and no gate's ends cross."""
        pairs = [[limits[end] for end in ENDS if end.key == key] for key in KEYS]
        if any(low is not None and high is not None and low > high for low, *highs in pairs for high in highs):
            return False
        kept = self.faces.passing(limits)
        inside = [self.base & (self.label == label) for label in self.labels]
        return all((kept & one).sum() >= math.ceil(self.keep * int(one.sum()) - 1e-9) for one in inside)

    def proposal(self, end: End, alone: float | None, together: float | None) -> Proposal:
        base, shares = self._base(end), []
        for limit in (self.faces.now[end], alone):
            passing = self.faces.passing({end: limit}, [end])
            inside = {NAMES[label]: base & (self.label == label) for label in self.labels}
            shares.append({name: float(passing[one].mean()) if one.any() else 1.0 for name, one in inside.items()})
        return Proposal(
            name=end.name,
            key=end.key,
            moves=end in self.moving,
            now=self.faces.now[end],
            alone=alone,
            together=together,
            keeps_now=shares[0],
            keeps_alone=shares[1],
        )

    def notes(self, together: Limits) -> Iterator[str]:
        """What enters the counts without being a limit."""
        if self.faces.guided:
            yield (
                f"gates.pairs=together: {self.faces.guided:,} faces of fakes are kept or rejected with the face of "
                "their original, whatever their own measures are"
            )
        if count := int(self.faces.fixed.sum()):
            yield f"{count:,} faces of fakes keep their verdict: their original's faces are not in this build"
        if self.faces.aside:
            yield f"{self.faces.aside:,} faces are not counted: no limit decides them, but a larger face or a list does"
        if any(end.key == CONFIDENCE and limit != self.faces.now[end] for end, limit in together.items()):
            yield (
                "another confidence lets in what is no face, and guides fakes by originals that had no confident face: "
                "counts of such fakes may differ"
            )


def _searched(recipe: Mapping[str, Any], moved: Limits) -> tuple[int | None, int | None]:
    """``detect.min_face`` as it is and as the moved limit of face size asks for it; None where that is no smaller."""
    smallest = next((limit for end, limit in moved.items() if end.column == "side"), None)
    searched = (recipe.get("detect") or {}).get("min_face")
    if smallest is None or searched is None or smallest >= searched:
        return None, None
    return searched, max(math.floor(smallest), _LEAST_SEARCH)


def _round(value: float, end: End, known: NDArray[np.float64]) -> float:
    """``value`` rounded to three digits to the looser side, and clear of all ``known`` values (ascending) that are too
    close to tell whether they pass. Among millions of faces there may be no such limit: then the first is taken.
    """
    exact = Decimal(repr(value))
    step = Decimal(1).scaleb(exact.adjusted() - _DIGITS + 1) if exact else Decimal("0.001")
    rounding = ROUND_FLOOR if end.side == "low" else ROUND_CEILING
    first = (exact / step).to_integral_value(rounding) * step
    for number in range(_TRIES):
        limit = float(first - number * step if end.side == "low" else first + number * step)
        near = np.searchsorted(known, (limit - end.close(limit), limit + end.close(limit)), side="right")
        if near[0] == near[1]:
            return limit
    return float(first)


def to_json(found: Thresholds) -> dict[str, Any]:
    """The proposal as JSON; groups become lists of mappings."""
    value = asdict(found)
    value["groups"] = [{"by": by, "group": group, "faces": count} for (by, group), count in found.groups.items()]
    for one, choice in zip(value["choices"], found.choices, strict=True):
        one["kept"] = [{"by": by, "group": group, "kept": count} for (by, group), count in choice.kept.items()]
    return value | {"settings": list(found.settings)}
