"""The split protocols, table to table: who stands on which side, and why someone stands on none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self

import polars as pl
import pyarrow as pa
from pydantic import Field, model_validator

from semblance.manifests import schema
from semblance.manifests.config import Config
from semblance.manifests.errors import UsageError
from semblance.manifests.records import TRAIN_VAL_TEST, Video
from semblance.manifests.splits import protocols, releases
from semblance.manifests.splits.identity_graph import Row
from semblance.manifests.splits.protocols import Against, Basis, Notes, Outcome, Sides

Protocol = Literal["official", "official_clean", "identity", "family", "method", "temporal"]
COLUMNS: Final = ("official", "family", "identity", "method", "temporal")
FRACTIONS: Final = (0.8, 0.1, 0.1)


class SplitConfig(Config):
    """Which protocol is laid out on disk, and the share of videos that train, val and test should get.

    ``auto``: identity where names give people, else family, else official; one with a side of reals or fakes alone is
    passed over where a later one is better. Without ``fractions`` the training plan's for the dataset are taken.
    ``held_out``: the methods that protocol ``method`` keeps for test; without them it is the ``rotate``-th in
    alphabetical order, counted round. ``against``: what a train or val video of ``official_clean`` may not share with
    the published test set.
    """

    protocol: Literal["auto", "official", "official_clean", "identity", "family", "method", "temporal"] = "auto"
    fractions: tuple[float, float, float] | None = None
    held_out: tuple[str, ...] = ()
    rotate: int = Field(default=0, ge=0)
    against: Against = "recording"

    @model_validator(mode="after")
    def _fractions_are_shares(self) -> Self:
        if self.fractions is None:
            return self
        if min(self.fractions) < 0 or abs(sum(self.fractions) - 1) > 1e-9:
            raise ValueError("split.fractions must be three shares (train, val, test) that add up to 1")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTraits:
    """What a dataset's names tell, which no row of it can: what its ids stand for (``basis``), whether a fake
    names its original (``paired``), whether its authors published a val or a part of train becomes it.
    """

    basis: Basis | None = None
    paired: bool = True
    val_from_train: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolNotes:
    """What to say of each protocol that exists, and why the others do not."""

    facts: Mapping[str, Sequence[str]]
    balance: Mapping[str, Sequence[str]]  # where a side holds reals and fakes in quite another proportion
    absent: Mapping[str, str]

    def of(self, protocol: str) -> tuple[str, ...]:
        """The sentences about one protocol; none where it does not exist."""
        return (*self.facts.get(protocol, ()), *self.balance.get(protocol, ()))

    def lines(self, protocol: str) -> tuple[str, ...]:
        """Of the protocol that is laid out first, then of the others, then why some columns are null."""
        others = [f"split_{name}: {fact}" for name in COLUMNS if name != protocol for fact in self.of(name)]
        lacking = [f"split_{name} is null: {self.absent[name]}" for name in COLUMNS if name in self.absent]
        return (*self.of(protocol), *others, *lacking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A plan with its split columns filled, the protocol that ``split`` lays out, and what to say of them."""

    table: pl.DataFrame
    protocol: Protocol
    said: ProtocolNotes

    @property
    def facts(self) -> tuple[str, ...]:
        return self.said.lines(self.protocol)


def plan_frame(videos: Iterable[Video]) -> pl.DataFrame:
    """Videos as a table with the columns and types of plan.parquet."""
    videos = list(videos)
    columns = [pa.array([getattr(video, field.name) for video in videos], field.type) for field in schema.PLAN]
    frame = pl.from_arrow(pa.Table.from_arrays(columns, schema=schema.PLAN))
    assert isinstance(frame, pl.DataFrame)
    return frame


def to_videos(frame: pl.DataFrame) -> list[Video]:
    """The table's rows as records, in its order."""
    return [Video(**row) for row in frame.iter_rows(named=True)]


def assign(videos: pl.DataFrame, config: SplitConfig, seed: int, nature: DatasetTraits | None = None) -> Assigned:
    """Fill every protocol's column, and ``split`` and ``split_note`` with the one that is laid out.

    ``split_official`` comes in as the authors published it. Unlabelled videos stand on no side. Does not depend
    on the order of the rows. Raises UsageError where the wanted protocol does not exist for these videos.
    """
    nature = nature or DatasetTraits()
    rows = sorted(videos.iter_rows(named=True), key=lambda row: row["video_id"])
    known = [row for row in rows if row["label"] is not None]
    shares = config.fractions or FRACTIONS
    family = protocols.family(known, shares, seed, paired=nature.paired)
    official = protocols.official(known, shares, seed, val_from_train=nature.val_from_train, paired=nature.paired)
    found = {
        "official": official,
        "official_clean": protocols.official_clean(known, official, config.against),
        "family": family,
        "identity": protocols.identity(known, shares, seed, nature.basis),
        "method": protocols.method(known, family.sides, config.held_out, config.rotate),
        "temporal": protocols.temporal(known, shares),
    }
    return _assigned(videos, known, found, config)


def lay_out(plan: pl.DataFrame, config: SplitConfig, said: ProtocolNotes) -> Assigned:
    """Another protocol for a plan whose protocols stand in its columns: those are taken as they are.

    Protocol ``method``, whose held-out methods may be others now, and ``official_clean`` are computed from the
    rows. ``said``: what was said of the plan when it was made. Raises UsageError where the wanted protocol does
    not exist for these videos.
    """
    rows = [row for row in plan.sort("video_id").iter_rows(named=True) if row["label"] is not None]
    found = {}
    for name in ("official", "family", "identity", "temporal"):
        found[name] = protocols.standing(rows, name, said.facts.get(name, ()), said.absent.get(name, ""))
    found["official_clean"] = protocols.official_clean(rows, found["official"], config.against)
    found["method"] = protocols.method(rows, found["family"].sides, config.held_out, config.rotate)
    return _assigned(plan, rows, found, config)


def _assigned(videos: pl.DataFrame, known: Sequence[Row], found: dict[str, Outcome], config: SplitConfig) -> Assigned:
    protocol = _laid_out(known, found, config)
    unlabelled = videos.filter(pl.col("label").is_null())["video_id"]
    notes = dict.fromkeys(unlabelled, "unlabelled: no usable metadata") | found[protocol].notes
    there = {name: outcome for name, outcome in found.items() if outcome.sides}
    said = ProtocolNotes(
        facts={name: tuple(one.facts) for name, one in there.items()},
        balance={name: tuple(_balance(known, one.sides, name)) for name, one in there.items()},
        absent={name: one.why for name, one in found.items() if name not in there},
    )
    return Assigned(table=_filled(videos, found, protocol, notes), protocol=protocol, said=said)


def methods_of(plan: pl.DataFrame) -> list[str]:
    """The named methods of a plan's fakes, in alphabetical order."""
    return protocols.methods(plan.select("label", "method").unique().to_dicts())


def hold_out(plan: pl.DataFrame, methods: Collection[str]) -> pl.DataFrame:
    """Protocol ``method`` for other held-out methods, computed from a plan's rows.

    Gives video_id, split_method and split_note (the reason where split_method is null) in the plan's order.
    Raises UsageError for a method that no fake has, or where families are unknown.
    """
    rows = [row for row in plan.iter_rows(named=True) if row["label"] is not None]
    families: Sides = {row["video_id"]: row["split_family"] for row in rows if row["split_family"]}
    outcome = protocols.method(rows, families, methods)
    if not outcome.sides:
        raise UsageError(f"No method can be held out here: {outcome.why}.")
    ids = plan["video_id"].to_list()
    return pl.DataFrame(
        {
            "video_id": ids,
            "split_method": [outcome.sides.get(name) for name in ids],
            "split_note": [outcome.notes.get(name) for name in ids],
        },
        schema=dict.fromkeys(("video_id", "split_method", "split_note"), pl.String),
    )


def over_time(plans: Sequence[pl.DataFrame], fractions: Sequence[float]) -> tuple[pl.DataFrame, list[str]]:
    """Protocol ``temporal`` over the videos of several plans together, oldest in train; and what to say of it.

    A plan without any date takes the releases of its datasets and methods. Gives dataset, video_id, method, label,
    date, split_temporal and split_note, in the plans' order. Raises UsageError where there is no time to split by.
    """
    dated = [one if one["date"].null_count() < one.height else releases.with_releases(one) for one in plans]
    whole = pl.concat([one.select(schema.PLAN.names) for one in dated])
    rows = [row for row in whole.iter_rows(named=True) if row["label"] is not None]
    outcome = protocols.temporal(rows, fractions)
    if not outcome.sides:
        raise UsageError(f"These videos cannot be split by time: {outcome.why}.")
    ids = whole["video_id"].to_list()
    table = whole.select("dataset", "video_id", "method", "label", "date").with_columns(
        pl.Series("split_temporal", [outcome.sides.get(name) for name in ids], pl.String),
        pl.Series("split_note", [outcome.notes.get(name) for name in ids], pl.String),
    )
    return table, [*releases.sources_of(whole), *outcome.facts]


def _filled(videos: pl.DataFrame, found: dict[str, Outcome], protocol: str, notes: Notes) -> pl.DataFrame:
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


def _laid_out(rows: Sequence[Row], found: dict[str, Outcome], config: SplitConfig) -> Protocol:
    """The protocol asked for; for ``auto`` the first of identity, family and official that exists and can be used.

    One whose sides hold reals or fakes alone cannot: it is passed over, said aloud, where a later one can.
    """
    names: tuple[Protocol, ...] = ("identity", "family", "official")
    if config.protocol == "auto":
        there = [name for name in names if found[name].sides]
        first: Protocol = there[0] if there else "family"
        chosen: Protocol = next((name for name in there if _usable(rows, found[name].sides)), first)
        for name in there[: there.index(chosen) if there else 0]:
            found[chosen].facts.append(
                f"auto passes over {name}: one of its sides would hold reals or fakes alone; lay it out with "
                f"split.protocol={name}"
            )
        return chosen
    if not found[config.protocol].sides:
        others = ", ".join(name for name in (*COLUMNS, "official_clean") if found[name].sides) or "none"
        raise UsageError(
            f"split.protocol={config.protocol} does not exist for these videos: {found[config.protocol].why}; "
            f"protocols that do: {others}."
        )
    return config.protocol


def _usable(rows: Sequence[Row], sides: Sides) -> bool:
    """Whether every side that holds videos holds reals and fakes."""
    labels: dict[str | None, set[int]] = {}
    for row in rows:
        if protocols.counts(row):
            labels.setdefault(sides.get(row["video_id"]), set()).add(row["label"])
    return all(len(found) == 2 for side, found in labels.items() if side in TRAIN_VAL_TEST)


def _balance(rows: Sequence[Row], sides: Sides, protocol: str) -> list[str]:
    """A sentence where a side lacks reals or fakes, or has them in quite another proportion than the whole."""
    counts = {side: [0, 0] for side in TRAIN_VAL_TEST}
    for row in rows:
        side = sides.get(row["video_id"])
        if side in counts and protocols.counts(row):
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
