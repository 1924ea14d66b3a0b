"""The protocols, one function each: which side every video stands on, and why some stand on none.

``rows`` are the labelled videos of a plan, in the order of their ids; ``shares`` those wished for train, val and test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal

from semblance.manifests.errors import UsageError
from semblance.manifests.records import PRISTINE, TRAIN_VAL_TEST, digest
from semblance.manifests.splits.balance import divide
from semblance.manifests.splits.identity_graph import Row, place

Against = Literal["recording", "family", "person"]
Basis = Literal["person", "recording"]  # what target_id and donor_id stand for
DATED: Final = 0.95  # share of videos that must have a date before a split by time means anything
_LITTLE: Final = 0.1  # of a published side: less is next to nothing
Sides = dict[str, str | None]  # video_id -> side
Notes = dict[str, str]  # video_id -> why it stands on no side


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What one protocol gives; ``sides`` is empty where it does not exist, ``why`` then says why not."""

    sides: Sides
    notes: Notes
    facts: list[str]
    why: str = ""


def none(why: str) -> Outcome:
    return Outcome(sides={}, notes={}, facts=[], why=why)


def counts(row: Row) -> bool:
    """Whether a labelled video weighs: only what is there."""
    return row["fault"] is None


def standing(rows: Sequence[Row], name: str, facts: Sequence[str], why: str) -> Outcome:
    """Protocol ``name`` as its column has it, with the reason of every labelled video that it leaves out.

    ``facts`` were said of it when it was computed, or ``why`` it does not exist.
    """
    column = f"split_{name}"
    if not any(row[column] for row in rows):
        return none(why or "its column is null")
    sides: Sides = {row["video_id"]: row[column] for row in rows if name != "official" or row[column]}
    out = [row for row in rows if row[column] is None]
    if name == "identity":
        notes = _straddling(rows, out)
    else:
        words = {"official": "not in the published split", "temporal": "no date"}
        notes = {row["video_id"]: words[name] for row in out if name in words}
    return Outcome(sides=sides, notes=notes, facts=list(facts))


# family -------------------------------------------------------------------------------------------------------


def family(rows: Sequence[Row], shares: Sequence[float], seed: int, *, paired: bool = True) -> Outcome:
    """No family on two sides, shares counted in videos; says nothing of people."""
    if not paired:
        return none("nothing tells which original a fake was made from")
    sides = _divided(rows, shares, seed)
    return Outcome(sides={row["video_id"]: sides[row["family_id"]] for row in rows}, notes={}, facts=[])


def _divided(rows: Sequence[Row], shares: Sequence[float], seed: int) -> dict[str, str]:
    """Family -> side; a family of which nothing is there goes to the first side with a share."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        sizes[row["family_id"]] += counts(row)
    ordered = sorted(sizes, key=lambda name: digest(seed, name))
    return dict(zip(ordered, divide([sizes[name] for name in ordered], shares), strict=True))


# official -----------------------------------------------------------------------------------------------------


def official(
    rows: Sequence[Row], shares: Sequence[float], seed: int, *, val_from_train: bool = False, paired: bool = True
) -> Outcome:
    """As published; where no val was, whole families of the published train become it. Test is never touched."""
    sides: Sides = {row["video_id"]: row["split_official"] for row in rows if row["split_official"]}
    if not sides:
        return none("no published split was found")
    facts = []
    published = set(sides.values())
    if val_from_train and "train" in published and "val" not in published:
        train = [row for row in rows if row["split_official"] == "train"]
        whole = shares[0] + shares[1]
        # Unpaired families hold one label each: cut among both together, val could get one label alone.
        labels = ({0, 1},) if paired else ({0}, {1})
        for wanted in labels if whole else ():
            some = [row for row in train if row["label"] in wanted]
            cut = _divided(some, (shares[0] / whole, shares[1] / whole, 0.0), seed)
            sides |= {row["video_id"]: cut[row["family_id"]] for row in some}
        unit = "families" if paired else "archives"
        facts.append(f"the published split has no val: whole {unit} of its train were set aside for it")
    if missing := sum(row["split_official"] is None for row in rows):
        facts.append(f"videos without a published side: {missing}")
    notes = {row["video_id"]: "not in the published split" for row in rows if row["split_official"] is None}
    return Outcome(sides=sides, notes=notes, facts=facts)


_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "family": ("family_id",),
    "recording": ("recording_id", "donor_recording_id"),
    "person": ("target_id", "donor_id"),
}


def official_clean(rows: Sequence[Row], published: Outcome, against: Against) -> Outcome:
    """The published test set whole; train and val without every video that shares what ``against`` names."""
    if not published.sides:
        return none(published.why)
    columns = _KEYS[against]
    tested: set[str] = set()
    unknown = 0
    for row in rows:
        if published.sides.get(row["video_id"]) == "test":
            tested |= {row[name] for name in columns if row[name]}
    if not tested:
        return none(f"no test video has a known {against}")
    sides, notes = dict(published.sides), dict(published.notes)
    dropped: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        side = published.sides.get(row["video_id"])
        if side not in ("train", "val"):
            continue
        unknown += not any(row[name] for name in columns)
        if shared := sorted({row[name] for name in columns if row[name] in tested}):
            sides[row["video_id"]] = None
            notes[row["video_id"]] = f"shares {against} {' and '.join(shared)} with the published test set"
            dropped[side] += 1
    facts = [
        *published.facts,
        f"dropped for sharing a {against} with the published test set: {dropped['train']} train and "
        f"{dropped['val']} val videos (split_note names each)",
    ]
    if unknown:
        facts.append(f"train and val videos whose {against} is unknown (kept, not proven clean): {unknown}")
    for side in ("train", "val"):
        left = [row["label"] for row in rows if sides.get(row["video_id"]) == side and counts(row)]
        had = sum(published.sides.get(row["video_id"]) == side and counts(row) for row in rows)
        if had and len(set(left)) < 2:
            what = "nothing" if not left else f"{len(left)} {'fakes' if left[0] else 'reals'} alone"
            facts.append(f"of the published {side} {what} would remain by {against}: of no use for training")
        elif len(left) < _LITTLE * had:
            facts.append(
                f"of the published {side} next to nothing would remain by {against}: {left.count(0)} reals and "
                f"{left.count(1)} fakes of {had} videos"
            )
    return Outcome(sides=sides, notes=notes, facts=facts)


# identity -----------------------------------------------------------------------------------------------------


def identity(rows: Sequence[Row], shares: Sequence[float], seed: int, basis: Basis | None) -> Outcome:
    """No known person on two sides. People are connected by the fakes that show two of them."""
    if basis is None:
        return none("no names of people or recordings")
    if not any(row["target_id"] or row["donor_id"] for row in rows):
        return none("no video names its people")
    placed = place(rows, shares, seed)
    sides: Sides = {}
    notes: Notes = {}
    lost = 0
    for row in rows:
        side, donor = placed.of_video(row)
        straddles = donor is not None and donor != side
        sides[row["video_id"]] = None if straddles else side
        if straddles:
            target = row["target_id"] or row["family_id"]
            notes[row["video_id"]] = _straddles(target, side, row["donor_id"], donor)
            lost += counts(row)
    fakes = sum(row["label"] == 1 and counts(row) for row in rows)
    people = len({row[name] for row in rows for name in ("target_id", "donor_id") if row[name]})
    word = "recordings (not people)" if basis == "recording" else "people"
    facts = [
        f"identity split by {basis}: {people} known {word}; {lost} of {fakes} fakes straddle two sides and stay "
        f"unassigned; no split within half and twice the wished sizes can lose fewer than {placed.bound}"
    ]
    unknown = sum(not row["target_id"] for row in rows if row["label"] == 0)
    if unknown:
        facts.append(f"real videos of unknown people (their isolation cannot be proven): {unknown}")
    return Outcome(sides=sides, notes=notes, facts=facts)


def _straddling(rows: Sequence[Row], out: Sequence[Row]) -> Notes:
    """The reasons of ``identity`` for the fakes that it leaves ``out``, told from where the others stand."""
    sides: dict[str, str] = {}
    for row in rows:
        if row["split_identity"]:
            sides |= {row[name]: row["split_identity"] for name in ("family_id", "target_id", "donor_id") if row[name]}
    notes: Notes = {}
    for row in out:
        target, donor = row["target_id"] or row["family_id"], row["donor_id"]
        if target in sides and donor in sides:
            notes[row["video_id"]] = _straddles(target, sides[target], donor, sides[donor])
        else:  # nothing else shows one of them
            notes[row["video_id"]] = f"straddles: {target} and its donor {donor} stand in two sides"
    return notes


def _straddles(target: str, side: str | None, donor: str, donor_side: str | None) -> str:
    return f"straddles: {target} stands in {side}, its donor {donor} in {donor_side}"


# method -------------------------------------------------------------------------------------------------------


def methods(rows: Sequence[Row]) -> list[str]:
    """The named methods of the fakes, in alphabetical order."""
    return sorted({row["method"] for row in rows if row["label"] == 1 and row["method"]} - {PRISTINE})


def method(rows: Sequence[Row], families: Sides, held_out: Collection[str], rotate: int = 0) -> Outcome:
    """Held-out methods in test alone, with the reals of the test families; the others in train and val alone.

    A held-out fake of a train or val family, or another fake of a test family, would put a family on two sides:
    it stands on none. ``families``: the side of every video under ``family``. Without ``held_out`` it is the
    ``rotate``-th method. Raises UsageError for a method that no fake has.
    """
    named = methods(rows)
    if unknown := sorted(set(held_out) - set(named)):
        there = ", ".join(named) if named else "none is named"
        raise UsageError(f"There is no fake of the held-out method {unknown[0]!r}; methods here: {there}.")
    if not families:
        return none("families are unknown")
    if not named:
        return none("no method is named")
    if len(named) == 1 and not held_out:
        return none(f"there is one method alone ({named[0]})")
    held = set(held_out) or {named[rotate % len(named)]}
    sides: Sides = {}
    notes: Notes = {}
    lost = 0
    for row in rows:
        side, name = families.get(row["video_id"]), row["method"]
        if side and row["label"] == 1 and (name is None or (name in held) != (side == "test")):
            if name is None:
                note = "its method is unknown"
            elif name in held:
                note = f"{name} is held out for test, its family stands in {side}"
            else:
                note = f"{name} is not held out, its family stands in test"
            notes[row["video_id"]] = note
            lost += counts(row)
            side = None
        sides[row["video_id"]] = side
    fact = (
        f"held out for test: {', '.join(sorted(held))}; {lost} fakes stay unassigned, since their family "
        "stands on the other side"
    )
    return Outcome(sides=sides, notes=notes, facts=[fact])


# temporal -----------------------------------------------------------------------------------------------------


def temporal(rows: Sequence[Row], shares: Sequence[float]) -> Outcome:
    """Oldest families in train, newest in test; a family takes its original's date, a date is not divided."""
    dates: dict[str, tuple[int, datetime]] = {}
    for row in rows:
        if (when := parse_date(row["date"])) is not None:
            key = (row["label"], when)
            dates[row["family_id"]] = min(dates.get(row["family_id"], key), key)
    if not dates:
        return none("no video has a date")
    known = sum(counts(row) for row in rows if row["family_id"] in dates)
    total = sum(counts(row) for row in rows)
    if known < DATED * total:
        return none(f"only {known} of {total} videos have a date or an original with one")
    sizes: defaultdict[datetime, int] = defaultdict(int)
    for row in rows:
        if row["family_id"] in dates:
            sizes[dates[row["family_id"]][1]] += counts(row)
    if len(sizes) < sum(share > 0 for share in shares):
        return none(f"there are only {len(sizes)} different dates")
    run = _along([(when, sizes[when]) for when in sorted(sizes)], shares)
    notes = {row["video_id"]: "no date" for row in rows if row["family_id"] not in dates}
    sides: Sides = {
        row["video_id"]: run[dates[row["family_id"]][1]] if row["family_id"] in dates else None for row in rows
    }
    begins = {side: min(when for when in run if run[when] == side) for side in run.values()}
    fact = f"temporal split; the sides begin at {', '.join(f'{side} {when:%Y-%m-%d}' for side, when in begins.items())}"
    return Outcome(sides=sides, notes=notes, facts=[fact])


def parse_date(text: str | None) -> datetime | None:
    """An ISO 8601 date or time without its zone; None where it is neither."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return None


def _along(sizes: Sequence[tuple[datetime, int]], shares: Sequence[float]) -> dict[datetime, str]:
    """Dates in order cut into runs, one for each side with a share, nearest to the shares; none empty."""
    sides = [(side, Fraction(str(share))) for side, share in zip(TRAIN_VAL_TEST, shares, strict=True) if share > 0]
    total = sum(size for _, size in sizes)
    sums = [0]
    for _, size in sizes:
        sums.append(sums[-1] + size)
    cuts, wish = [0], Fraction(0)
    for number, (_, share) in enumerate(sides[:-1]):
        wish += share * total
        room = range(cuts[-1] + 1, len(sizes) - (len(sides) - 2 - number))
        cuts.append(min(room, key=lambda cut, wish=wish: (abs(sums[cut] - wish), cut)))  # type: ignore[misc]
    cuts.append(len(sizes))
    runs = zip(sides, cuts[:-1], cuts[1:], strict=True)
    return {when: side for (side, _), start, end in runs for when, _ in sizes[start:end]}
