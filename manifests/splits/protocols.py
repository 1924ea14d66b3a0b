"""The protocols, one function each: the split of every video, and why some videos have none.

``rows`` are the labelled videos of a plan, ordered by id; ``shares`` the target shares of train, val and test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from semblance.manifests.errors import UsageError
from semblance.manifests.ids import digest
from semblance.manifests.records import PRISTINE
from semblance.manifests.splits.balance import divide
from semblance.manifests.splits.identity_graph import Row, place

Against = Literal["recording", "family", "person"]
Basis = Literal["person", "recording"]  # what target_id and donor_id stand for
_LITTLE: Final = 0.1  # of a published split; less is reported
SplitOf = dict[str, str | None]  # video_id -> its split, None if it has none
Notes = dict[str, str]  # video_id -> why it has no split


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The result of one protocol; ``splits`` is empty if it is unavailable, and ``why`` is the reason."""

    splits: SplitOf
    notes: Notes
    facts: list[str]
    why: str = ""


def unavailable(why: str) -> Outcome:
    """The result of a protocol that these videos do not allow."""
    return Outcome(splits={}, notes={}, facts=[], why=why)


def counts(row: Row) -> bool:
    """Whether a labelled video counts towards the shares: only if its file exists."""
    return row["fault"] is None


def from_column(rows: Sequence[Row], name: str, facts: Sequence[str], why: str) -> Outcome:
    """Protocol ``name`` read back from its column, with the reason for every labelled video that it leaves out.

    ``facts``: the sentences made when it was computed. ``why``: the reason why it is unavailable.
    """
    column = f"split_{name}"
    if not any(row[column] for row in rows):
        return unavailable(why or "its column is null")
    splits: SplitOf = {row["video_id"]: row[column] for row in rows if name != "official" or row[column]}
    unassigned = [row for row in rows if row[column] is None]
    if name == "identity":
        notes = _straddling(rows, unassigned)
    else:
        words = {
            "official": "not in the published split",
            "temporal": "no date",
            "person_estimated": "nobody estimated, too near to a person of a later split, or joins two splits",
        }
        notes = {row["video_id"]: words[name] for row in unassigned if name in words}
    return Outcome(splits=splits, notes=notes, facts=list(facts))


# family -------------------------------------------------------------------------------------------------------


def family(rows: Sequence[Row], shares: Sequence[float], seed: int, *, paired: bool = True) -> Outcome:
    """No family in two splits, with shares counted in videos; guarantees nothing about people."""
    if not paired:
        return unavailable("the originals of fakes are not known")
    splits = _divided(rows, shares, seed)
    return Outcome(splits={row["video_id"]: splits[row["family_id"]] for row in rows}, notes={}, facts=[])


def _divided(rows: Sequence[Row], shares: Sequence[float], seed: int) -> dict[str, str]:
    """Family -> split; a family without any file goes to the first split with a share."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        sizes[row["family_id"]] += counts(row)
    ordered = sorted(sizes, key=lambda name: digest(seed, name))
    return dict(zip(ordered, divide([sizes[name] for name in ordered], shares), strict=True))


# official -----------------------------------------------------------------------------------------------------


def official(
    rows: Sequence[Row], shares: Sequence[float], seed: int, *, val_from_train: bool = False, paired: bool = True
) -> Outcome:
    """As published. If no val was published, complete families of train become val. Test never changes."""
    splits: SplitOf = {row["video_id"]: row["split_official"] for row in rows if row["split_official"]}
    if not splits:
        return unavailable("no published split was found")
    facts = []
    published = set(splits.values())
    if val_from_train and "train" in published and "val" not in published:
        train = [row for row in rows if row["split_official"] == "train"]
        train_and_val = shares[0] + shares[1]
        # Unpaired families have one label each: divided together, val could get only one label.
        labels = ({0, 1},) if paired else ({0}, {1})
        for wanted in labels if train_and_val else ():
            subset = [row for row in train if row["label"] in wanted]
            cut = _divided(subset, (shares[0] / train_and_val, shares[1] / train_and_val, 0.0), seed)
            splits |= {row["video_id"]: cut[row["family_id"]] for row in subset}
        unit = "families" if paired else "archives"
        facts.append(f"the published split has no val: {unit} of its train were used for it")
    if missing := sum(row["split_official"] is None for row in rows):
        facts.append(f"videos without a published split: {missing}")
    notes = {row["video_id"]: "not in the published split" for row in rows if row["split_official"] is None}
    return Outcome(splits=splits, notes=notes, facts=facts)


_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "family": ("family_id",),
    "recording": ("recording_id", "donor_recording_id"),
    "person": ("target_id", "donor_id"),
}


def official_clean(rows: Sequence[Row], published: Outcome, against: Against) -> Outcome:
    """The published test set; train and val without the videos that share a value of ``against`` with it."""
    if not published.splits:
        return unavailable(published.why)
    columns = _KEYS[against]
    tested: set[str] = set()
    unknown = 0
    for row in rows:
        if published.splits.get(row["video_id"]) == "test":
            tested |= {row[name] for name in columns if row[name]}
    if not tested:
        return unavailable(f"no test video has a known {against}")
    splits, notes = dict(published.splits), dict(published.notes)
    dropped: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        split = published.splits.get(row["video_id"])
        if split not in ("train", "val"):
            continue
        unknown += not any(row[name] for name in columns)
        if shared := sorted({row[name] for name in columns if row[name] in tested}):
            splits[row["video_id"]] = None
            notes[row["video_id"]] = f"shares {against} {' and '.join(shared)} with the published test set"
            dropped[split] += 1
    facts = [
        *published.facts,
        f"dropped for sharing a {against} with the published test set: {dropped['train']} train and "
        f"{dropped['val']} val videos (split_note names each)",
    ]
    if unknown:
        facts.append(f"train and val videos whose {against} is unknown (kept, not proven clean): {unknown}")
    for split in ("train", "val"):
        left = [row["label"] for row in rows if splits.get(row["video_id"]) == split and counts(row)]
        had = sum(published.splits.get(row["video_id"]) == split and counts(row) for row in rows)
        if had and len(set(left)) < 2:
            what = "nothing" if not left else f"only {len(left)} {'fakes' if left[0] else 'reals'}"
            facts.append(f"removing shared {against} values leaves {what} of the published {split}: not usable")
        elif len(left) < _LITTLE * had:
            facts.append(
                f"removing shared {against} values leaves little of the published {split}: {left.count(0)} reals and "
                f"{left.count(1)} fakes of {had} videos"
            )
    return Outcome(splits=splits, notes=notes, facts=facts)


# identity -----------------------------------------------------------------------------------------------------


def identity(rows: Sequence[Row], shares: Sequence[float], seed: int, basis: Basis | None) -> Outcome:
    """No known person in two splits. People are connected by the fakes that show two of them."""
    if basis is None:
        return unavailable("no names of people or recordings")
    if not any(row["target_id"] or row["donor_id"] for row in rows):
        return unavailable("no video names its people")
    placed = place(rows, shares, seed)
    splits: SplitOf = {}
    notes: Notes = {}
    lost = 0
    for row in rows:
        split, donor = placed.of_video(row)
        straddles = donor is not None and donor != split
        splits[row["video_id"]] = None if straddles else split
        if straddles:
            target = row["target_id"] or row["family_id"]
            notes[row["video_id"]] = _straddles(target, split, row["donor_id"], donor)
            lost += counts(row)
    fakes = sum(row["label"] == 1 and counts(row) for row in rows)
    people = len({row[name] for row in rows for name in ("target_id", "donor_id") if row[name]})
    word = "recordings (not people)" if basis == "recording" else "people"
    facts = [
        f"identity split by {basis}: {people} known {word}; {lost} of {fakes} fakes join two splits and are left "
        f"unassigned (proven lower bound for these sizes: {placed.bound})"
    ]
    unknown = sum(not row["target_id"] for row in rows if row["label"] == 0)
    if unknown:
        facts.append(f"real videos of unknown people (their isolation cannot be proven): {unknown}")
    return Outcome(splits=splits, notes=notes, facts=facts)


def _straddling(rows: Sequence[Row], unassigned: Sequence[Row]) -> Notes:
    """Why ``identity`` leaves fakes ``unassigned``, derived from the splits of the other videos."""
    splits: dict[str, str] = {}
    for row in rows:
        if row["split_identity"]:
            splits |= {row[name]: row["split_identity"] for name in ("family_id", "target_id", "donor_id") if row[name]}
    notes: Notes = {}
    for row in unassigned:
        target, donor = row["target_id"] or row["family_id"], row["donor_id"]
        if target in splits and donor in splits:
            notes[row["video_id"]] = _straddles(target, splits[target], donor, splits[donor])
        else:  # nothing else shows one of them
            notes[row["video_id"]] = f"straddles: {target} and its donor {donor} stand in two sides"
    return notes


def _straddles(target: str, split: str | None, donor: str, donor_side: str | None) -> str:
    return f"straddles: {target} stands in {split}, its donor {donor} in {donor_side}"


# method -------------------------------------------------------------------------------------------------------


def methods(rows: Sequence[Row]) -> list[str]:
    """The named methods of the fakes, in alphabetical order."""
    return sorted({row["method"] for row in rows if row["label"] == 1 and row["method"]} - {PRISTINE})


def method(rows: Sequence[Row], families: SplitOf, held_out: Collection[str], rotate: int = 0) -> Outcome:
    """Held-out methods only in test, with the reals of the test families; other methods only in train and val.

    A held-out fake of a train or val family, or another fake of a test family, would put a family in two splits, so
    it is unassigned. ``families``: the split of every video under ``family``. Without ``held_out`` it is method
    number ``rotate``. Raises UsageError for a method that no fake has.
    """
    known = methods(rows)
    if unknown := sorted(set(held_out) - set(known)):
        available = ", ".join(known) or "none"
        raise UsageError(f"No fake has the held-out method {unknown[0]!r}; named methods: {available}.")
    if not families:
        return unavailable("families are unknown")
    if not known:
        return unavailable("no method is named")
    if len(known) == 1 and not held_out:
        return unavailable(f"there is only one method ({known[0]})")
    held = set(held_out) or {known[rotate % len(known)]}
    splits: SplitOf = {}
    notes: Notes = {}
    lost = 0
    for row in rows:
        split, name = families.get(row["video_id"]), row["method"]
        if split and row["label"] == 1 and (name is None or (name in held) != (split == "test")):
            if name is None:
                note = "its method is unknown"
            elif name in held:
                note = f"{name} is held out for test, its family stands in {split}"
            else:
                note = f"{name} is not held out, its family stands in test"
            notes[row["video_id"]] = note
            lost += counts(row)
            split = None
        splits[row["video_id"]] = split
    fact = (
        f"held out for test: {', '.join(sorted(held))}; {lost} fakes are unassigned because their family is in "
        "another split"
    )
    return Outcome(splits=splits, notes=notes, facts=[fact])
