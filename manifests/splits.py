"""The split protocols, table to table: who stands on which side, and why someone stands on none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from manifests import schema, store
from manifests.divide import SIDES, divide
from manifests.people import Row, place
from manifests.recipe import Config
from manifests.records import PRISTINE, UsageError, Video, digest

Protocol = Literal["official", "official_clean", "identity", "family", "method", "temporal"]
COLUMNS: Final = ("official", "family", "identity", "method", "temporal")
FRACTIONS: Final = (0.8, 0.1, 0.1)
_DATED: Final = 0.95  # share of videos that must have a date before a split by time means anything
_LISTED: Final = 3  # examples in a sentence
Sides = dict[str, str | None]  # video_id -> side
Notes = dict[str, str]  # video_id -> why it stands on no side


class SplitConfig(Config):
    """Which protocol is laid out on disk, and the share of videos that train, val and test should get.

    ``auto``: identity where names give people, else family, else official. Without ``fractions`` the training
    plan's for the dataset are taken. ``held_out``: the methods that protocol ``method`` keeps for test; without
    them it is the ``rotate``-th in alphabetical order, counted round. ``against``: what a train or val video of
    ``official_clean`` may not share with the published test set.
    """

    protocol: Literal["auto", "official", "official_clean", "identity", "family", "method", "temporal"] = "auto"
    fractions: tuple[float, float, float] | None = None
    held_out: tuple[str, ...] = ()
    rotate: int = Field(default=0, ge=0)
    against: Literal["recording", "family", "person"] = "recording"

    @model_validator(mode="after")
    def _fractions_are_shares(self) -> Self:
        if self.fractions is None:
            return self
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError("split.fractions must be three shares (train, val, test) that add up to 1")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Nature:
    """What a dataset's names tell, which no row of it can: what its ids stand for (``basis``), whether a fake
    names its original (``paired``), whether its authors published a val or a part of train becomes it.
    """

    basis: Literal["person", "recording"] | None = None
    paired: bool = True
    val_from_train: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A plan with its split columns filled, the protocol that ``split`` lays out, and what to say of them."""

    table: pl.DataFrame
    protocol: Protocol
    facts: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What one protocol gives; ``sides`` is empty where it does not exist, ``why`` then says why not."""

    sides: Sides
    notes: Notes
    facts: list[str]
    why: str = ""


def plan_frame(videos: Iterable[Video]) -> pl.DataFrame:
    """Videos as a table with the columns and types of plan.parquet."""
    names = schema.PLAN.names
    rows = [{name: getattr(video, name) for name in names} for video in videos]
    frame = pl.from_arrow(store.to_arrow(rows, "plan"))
    assert isinstance(frame, pl.DataFrame)
    return frame


def to_videos(frame: pl.DataFrame) -> list[Video]:
    """The table's rows as records, in its order."""
    return [Video(**row) for row in frame.iter_rows(named=True)]


def assign(videos: pl.DataFrame, config: SplitConfig, seed: int, nature: Nature | None = None) -> Assigned:
    """Fill every protocol's column, and ``split`` and ``split_note`` with the one that is laid out.

    ``split_official`` comes in as the authors published it. Unlabelled videos stand on no side. Does not depend
    on the order of the rows. Raises UsageError where the wanted protocol does not exist for these videos.
    """
    nature = nature or Nature()
    rows = sorted(videos.iter_rows(named=True), key=lambda row: row["video_id"])
    known = [row for row in rows if row["label"] is not None]
    shares = config.fractions or FRACTIONS
    family = _family(known, shares, seed, nature)
    found: dict[str, _Outcome] = {
        "official": _official(known, shares, seed, nature),
        "family": family,
        "identity": _identity(known, shares, seed, nature),
        "method": _method(known, family.sides, config),
        "temporal": _temporal(known, shares),
    }
    found["official_clean"] = _official_clean(known, found["official"], config)
    protocol = _laid_out(found, config)
    chosen = found[protocol]
    facts = [*chosen.facts, *_balance(known, chosen.sides, protocol)]
    facts += [f"split_{name} is null: {found[name].why}" for name in COLUMNS if not found[name].sides]
    notes = {row["video_id"]: "unlabelled: no usable metadata" for row in rows if row["label"] is None}
    return Assigned(table=_filled(videos, found, protocol, notes | chosen.notes), protocol=protocol, facts=tuple(facts))


def _filled(videos: pl.DataFrame, found: dict[str, _Outcome], protocol: str, notes: Notes) -> pl.DataFrame:
    ids = videos["video_id"].to_list()
    columns = [
        pl.Series(f"split_{name}", [found[name].sides.get(video_id) for video_id in ids], pl.String) for name in COLUMNS
    ]
    split = [found[protocol].sides.get(video_id) or "unassigned" for video_id in ids]
    text = [
        None if side != "unassigned" else notes.get(video_id, f"split {protocol} gives it no side")
        for video_id, side in zip(ids, split, strict=True)
    ]
    return videos.with_columns(
        *columns, pl.Series("split", split, pl.String), pl.Series("split_note", text, pl.String)
    ).select(videos.columns)


def _laid_out(found: dict[str, _Outcome], config: SplitConfig) -> Protocol:
    """The protocol asked for, or the first of identity, family and official that exists."""
    names: tuple[Protocol, ...] = ("identity", "family", "official")
    if config.protocol == "auto":
        return next((name for name in names if found[name].sides), "family")
    if not found[config.protocol].sides:
        there = ", ".join(name for name in (*COLUMNS, "official_clean") if found[name].sides) or "none"
        raise UsageError(
            f"split.protocol={config.protocol} does not exist for these videos: {found[config.protocol].why}; "
            f"protocols that do: {there}."
        )
    return config.protocol


def _none(why: str) -> _Outcome:
    return _Outcome(sides={}, notes={}, facts=[], why=why)


def _counts(row: Row) -> bool:
    """Whether a labelled video weighs: only what is there."""
    return row["fault"] is None


# family -------------------------------------------------------------------------------------------------------


def _family(rows: Sequence[Row], shares: Sequence[float], seed: int, nature: Nature) -> _Outcome:
    """No family on two sides, shares counted in videos; says nothing of people."""
    if not nature.paired:
        return _none("nothing tells which original a fake was made from")
    sides = _divided(rows, shares, seed)
    return _Outcome(sides={row["video_id"]: sides[row["family_id"]] for row in rows}, notes={}, facts=[])


def _divided(rows: Sequence[Row], shares: Sequence[float], seed: int) -> dict[str, str]:
    """Family -> side; a family of which nothing is there goes to the first side with a share."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        sizes[row["family_id"]] += _counts(row)
    ordered = sorted(sizes, key=lambda name: digest(seed, name))
    return dict(zip(ordered, divide([sizes[name] for name in ordered], shares), strict=True))


# official -----------------------------------------------------------------------------------------------------


def _official(rows: Sequence[Row], shares: Sequence[float], seed: int, nature: Nature) -> _Outcome:
    """As published; where no val was, whole families of the published train become it. Test is never touched."""
    sides: Sides = {row["video_id"]: row["split_official"] for row in rows if row["split_official"]}
    if not sides:
        return _none("no published split was found")
    facts = []
    published = set(sides.values())
    if nature.val_from_train and "train" in published and "val" not in published:
        train = [row for row in rows if row["split_official"] == "train"]
        whole = shares[0] + shares[1]
        cut = _divided(train, (shares[0] / whole, shares[1] / whole, 0.0), seed) if whole else {}
        sides |= {row["video_id"]: cut.get(row["family_id"], "train") for row in train}
        unit = "families" if nature.paired else "archives"
        facts.append(f"the published split has no val: whole {unit} of its train were set aside for it")
    if missing := sum(row["split_official"] is None for row in rows):
        facts.append(f"videos without a published side: {missing}")
    notes = {row["video_id"]: "not in the published split" for row in rows if row["split_official"] is None}
    return _Outcome(sides=sides, notes=notes, facts=facts)


_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "family": ("family_id",),
    "recording": ("recording_id", "donor_recording_id"),
    "person": ("target_id", "donor_id"),
}


def _official_clean(rows: Sequence[Row], official: _Outcome, config: SplitConfig) -> _Outcome:
    """The published test set whole; train and val without every video that shares what ``against`` names."""
    if not official.sides:
        return _none(official.why)
    columns = _KEYS[config.against]
    tested: set[str] = set()
    unknown = 0
    for row in rows:
        if official.sides.get(row["video_id"]) == "test":
            tested |= {row[name] for name in columns if row[name]}
    if not tested:
        return _none(f"no test video has a known {config.against}")
    sides, notes = dict(official.sides), dict(official.notes)
    dropped: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        side = official.sides.get(row["video_id"])
        if side not in ("train", "val"):
            continue
        unknown += not any(row[name] for name in columns)
        if shared := sorted({row[name] for name in columns if row[name] in tested}):
            sides[row["video_id"]] = None
            notes[row["video_id"]] = f"shares {config.against} {' and '.join(shared)} with the published test set"
            dropped[side] += 1
    facts = [
        *official.facts,
        f"dropped for sharing a {config.against} with the published test set: {dropped['train']} train and "
        f"{dropped['val']} val videos (split_note names each)",
    ]
    if unknown:
        facts.append(f"train and val videos whose {config.against} is unknown (kept, not proven clean): {unknown}")
    for side in ("train", "val"):
        left = [row["label"] for row in rows if sides.get(row["video_id"]) == side and _counts(row)]
        had = any(official.sides.get(row["video_id"]) == side for row in rows)
        if had and len(set(left)) < 2:
            what = "nothing" if not left else f"{len(left)} {'fakes' if left[0] else 'reals'} alone"
            facts.append(f"of the published {side} {what} would remain by {config.against}: of no use for training")
    return _Outcome(sides=sides, notes=notes, facts=facts)


# identity -----------------------------------------------------------------------------------------------------


def _identity(rows: Sequence[Row], shares: Sequence[float], seed: int, nature: Nature) -> _Outcome:
    """No known person on two sides. People are connected by the fakes that show two of them."""
    if nature.basis is None:
        return _none("no names of people or recordings")
    if not any(row["target_id"] or row["donor_id"] for row in rows):
        return _none("no video names its people")
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
            notes[row["video_id"]] = f"straddles: {target} stands in {side}, its donor {row['donor_id']} in {donor}"
            lost += _counts(row)
    fakes = sum(row["label"] == 1 and _counts(row) for row in rows)
    people = len({row[name] for row in rows for name in ("target_id", "donor_id") if row[name]})
    word = "recordings (not people)" if nature.basis == "recording" else "people"
    facts = [
        f"identity split by {nature.basis}: {people} known {word}; {lost} of {fakes} fakes straddle two sides and stay "
        f"unassigned; no split within half and twice the wished sizes can lose fewer than {placed.bound}"
    ]
    unknown = sum(not row["target_id"] for row in rows if row["label"] == 0)
    if unknown:
        facts.append(f"real videos of unknown people (their isolation cannot be proven): {unknown}")
    return _Outcome(sides=sides, notes=notes, facts=facts)


# method -------------------------------------------------------------------------------------------------------


def methods_of(videos: pl.DataFrame) -> list[str]:
    """The named methods of the fakes, in alphabetical order."""
    fakes = videos.filter((pl.col("label") == 1) & pl.col("method").is_not_null())
    return sorted(set(fakes["method"]) - {PRISTINE})


def _method(rows: Sequence[Row], family: Sides, config: SplitConfig) -> _Outcome:
    """Held-out methods in test alone, with the reals of the test families; the others in train and val alone.

    A held-out fake of a train or val family, or another fake of a test family, would put a family on two sides:
    it stands on none.
    """
    named = sorted({row["method"] for row in rows if row["label"] == 1 and row["method"]})
    if unknown := sorted(set(config.held_out) - set(named)):
        there = ", ".join(named) if named else "none is named"
        raise UsageError(f"split.held_out names {unknown[0]!r}, which no fake has; methods here: {there}.")
    if not family:
        return _none("families are unknown")
    if not named:
        return _none("no method is named")
    if len(named) == 1 and not config.held_out:
        return _none(f"there is one method alone ({named[0]})")
    held = set(config.held_out) or {named[config.rotate % len(named)]}
    sides: Sides = {}
    notes: Notes = {}
    lost = 0
    for row in rows:
        side, name = family[row["video_id"]], row["method"]
        if row["label"] == 1 and (name is None or (name in held) != (side == "test")):
            if name is None:
                note = "its method is unknown"
            elif name in held:
                note = f"{name} is held out for test, its family stands in {side}"
            else:
                note = f"{name} is not held out, its family stands in test"
            notes[row["video_id"]] = note
            lost += _counts(row)
            side = None
        sides[row["video_id"]] = side
    fact = (
        f"held out for test: {', '.join(sorted(held))}; {lost} fakes stay unassigned, since their family "
        "stands on the other side"
    )
    return _Outcome(sides=sides, notes=notes, facts=[fact])


# temporal -----------------------------------------------------------------------------------------------------


def _temporal(rows: Sequence[Row], shares: Sequence[float]) -> _Outcome:
    """Oldest families in train, newest in test; a family takes its original's date, a date is not divided."""
    dates: dict[str, tuple[int, datetime]] = {}
    for row in rows:
        if (when := parse_date(row["date"])) is not None:
            key = (row["label"], when)
            dates[row["family_id"]] = min(dates.get(row["family_id"], key), key)
    if not dates:
        return _none("no video has a date")
    known = sum(_counts(row) for row in rows if row["family_id"] in dates)
    total = sum(_counts(row) for row in rows)
    if known < _DATED * total:
        return _none(f"only {known} of {total} videos have a date or an original with one")
    sizes: defaultdict[datetime, int] = defaultdict(int)
    for row in rows:
        if row["family_id"] in dates:
            sizes[dates[row["family_id"]][1]] += _counts(row)
    if len(sizes) < sum(share > 0 for share in shares):
        return _none(f"there are only {len(sizes)} different dates")
    run = _along([(when, sizes[when]) for when in sorted(sizes)], shares)
    notes = {row["video_id"]: "no date" for row in rows if row["family_id"] not in dates}
    sides: Sides = {
        row["video_id"]: run[dates[row["family_id"]][1]] if row["family_id"] in dates else None for row in rows
    }
    begins = {side: min(when for when in run if run[when] == side) for side in run.values()}
    fact = f"temporal split; the sides begin at {', '.join(f'{side} {when:%Y-%m-%d}' for side, when in begins.items())}"
    return _Outcome(sides=sides, notes=notes, facts=[fact])


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
    sides = [(side, Fraction(str(share))) for side, share in zip(SIDES, shares, strict=True) if share > 0]
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


# what to say --------------------------------------------------------------------------------------------------


def _balance(rows: Sequence[Row], sides: Sides, protocol: str) -> list[str]:
    """A sentence where a side lacks reals or fakes, or has them in quite another proportion than the whole."""
    counts = {side: [0, 0] for side in SIDES}
    for row in rows:
        side = sides.get(row["video_id"])
        if side in counts and _counts(row):
            counts[side][row["label"]] += 1
    whole = [sum(count[label] for count in counts.values()) for label in (0, 1)]
    if not all(whole):
        return []
    facts = []
    for side, (reals, fakes) in counts.items():
        if not reals and not fakes:
            continue
        usual, here = whole[0] / sum(whole), reals / (reals + fakes)
        odds, usually = reals * whole[1], fakes * whole[0]  # their ratio is the odds ratio
        if not reals or not fakes or odds > 2 * usually or usually > 2 * odds:
            facts.append(
                f"out of balance under {protocol}: {side} holds {reals} reals and {fakes} fakes ({here:.0%} real; "
                f"{usual:.0%} over all sides)"
            )
    return facts
