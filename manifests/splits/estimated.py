"""Protocol ``person_estimated``: persons estimated from faces stay in one split, as far as the estimate goes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.manifests.splits.identity_graph import Row, place
from semblance.manifests.splits.protocols import Notes, Outcome, SplitOf, counts, unavailable
from semblance.manifests.splits.union import Groups

_LATER: Final[Mapping[str | None, tuple[str, ...]]] = MappingProxyType({"train": ("test", "val"), "val": ("test",)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Whom a video shows, by estimated names: ``targets`` in their own scene, ``donors`` whose faces were put in.

    ``near``: persons whom it resembles so much that it must not train what is tested on them. ``somebody_else``: it
    shows a person whom nobody could estimate.
    """

    targets: tuple[str, ...] = ()
    donors: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    somebody_else: bool = False

    @property
    def persons(self) -> list[str]:
        """Everybody, each once, in alphabetical order."""
        return sorted({*self.targets, *self.donors})


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """A table of estimated persons, by video; ``facts``: sentences on how it was made; ``digest``: of its rows."""

    of: Mapping[str, Estimate] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    digest: str = ""

    def named(self, video_id: str) -> Estimate:
        """The estimate of a video; that of nobody if the table does not have it."""
        return self.of.get(video_id, _NOBODY)


_NOBODY: Final = Estimate()


@dataclass(slots=True)
class _Family:
    """The targets of a family's videos, whom its real videos resemble, and whether it can be placed."""

    targets: set[str] = field(default_factory=set)
    near: set[str] = field(default_factory=set)
    somebody_else: bool = False

    @property
    def placed(self) -> bool:
        return bool(self.targets) and not self.somebody_else


def person_estimated(rows: Sequence[Row], shares: Sequence[float], seed: int, estimates: Estimates | None) -> Outcome:
    """No estimated person in two splits, and no video of train or val that resembles a person of a later split.

    Persons who appear together, and those of a family, move together. Left without a split, and counted: families that
    show somebody who could not be estimated, fakes whose donor is in another split, and families that resemble a person
    of test (those of train: of val too). An unknown donor is accepted and counted: nobody can say whose face it is.
    """
    if estimates is None:
        return unavailable("persons were not estimated; `quality persons` writes the table for split.persons")
    families = _families(rows, estimates)
    known = [row for row in rows if families[row["family_id"]].placed]
    if not known:
        return unavailable("the table of estimated persons names nobody in these videos")
    group = _together(
        [*(one.targets for one in families.values()), *({name} for one in estimates.of.values() for name in one.donors)]
    )
    stand_ins = [_stand_in(row, families[row["family_id"]], estimates.named(row["video_id"]), group) for row in known]
    placed = place(stand_ins, shares, seed)
    splits: SplitOf = dict.fromkeys((row["video_id"] for row in rows), None)
    notes: Notes = {
        row["video_id"]: "its family shows somebody who could not be estimated"
        for row in rows
        if not families[row["family_id"]].placed
    }
    side: dict[str | None, str] = {}  # of each group of persons
    for row in stand_ins:
        split, donor = placed.of_video(row)
        side |= {row["target_id"]: split, row["donor_id"]: donor or split}
        if donor in (None, split):
            splits[row["video_id"]] = split
        else:
            notes[row["video_id"]] = f"straddles: its estimated target stands in {split}, its donor in {donor}"
    nobody, straddling = len(rows) - len(known), sum(splits[row["video_id"]] is None for row in known)
    resembling = _quarantine(known, families, splits, {name: side.get(group[name]) for name in group})
    notes |= resembling
    splits |= dict.fromkeys(resembling, None)
    donors = [bool(estimates.named(row["video_id"]).donors) for row in known if row["label"] == 1 and counts(row)]
    persons = {name for one in families.values() for name in one.targets}
    facts = [
        f"person_estimated: {len(persons)} persons were estimated from faces; that they are isolated is likely, not "
        "proven",
        f"unassigned under person_estimated: videos that show somebody who could not be estimated {nobody}, fakes that "
        f"join two splits {straddling}, videos that resemble a person of a later split {len(resembling)}",
        *estimates.facts,
    ]
    wanted = [split for split, share in zip(TRAIN_VAL_TEST, shares, strict=True) if share > 0]
    if empty := [split for split in wanted if split not in splits.values()]:
        facts.append(f"{' and '.join(empty)} have no video under person_estimated: too few people, or too large groups")
    if blind := donors.count(False):
        facts.append(
            f"fakes whose donor is unknown, so that nobody can say where else that face is: {blind} of {len(donors)}"
        )
    return Outcome(splits=splits, notes=notes, facts=facts)


def _families(rows: Sequence[Row], estimates: Estimates) -> dict[str, _Family]:
    families: defaultdict[str, _Family] = defaultdict(_Family)
    for row in rows:
        family, own = families[row["family_id"]], estimates.named(row["video_id"])
        family.targets |= {*own.targets}
        if row["label"] == 0:
            family.near |= {*own.near}
            family.somebody_else |= own.somebody_else
    return dict(families)


def _together(sets: Iterable[Set[str]]) -> dict[str, str]:
    """Name -> the first name of its group: names of one set are in one group."""
    groups = Groups()
    for names in sets:
        for name in names:
            groups.join(min(names), name)
    return {name: groups.of(name) for name in groups.names()}


def _stand_in(row: Row, family: _Family, own: Estimate, group: Mapping[str, str]) -> Row:
    """The row with groups of estimated persons in place of known ones."""
    donor = group[min(own.donors)] if own.donors else None
    return {**row, "target_id": group[min(family.targets)], "donor_id": donor}


def _quarantine(
    rows: Sequence[Row], families: Mapping[str, _Family], splits: SplitOf, side: Mapping[str, str | None]
) -> Notes:
    """Why videos of train and val are left out: whom of a later split their family resembles."""
    notes: Notes = {}
    for row in rows:
        later = _LATER.get(splits[row["video_id"]], ())
        if near := sorted(name for name in families[row["family_id"]].near if side.get(name) in later):
            notes[row["video_id"]] = f"quarantined: its family resembles {near[0]}, who stands in {side[near[0]]}"
    return notes
