"""The split protocols on tables: every protocol's split of each video, and the reason where it has none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa

from semblance.manifests import schema
from semblance.manifests.errors import UsageError
from semblance.manifests.records import TRAIN_VAL_TEST, Video
from semblance.manifests.splits import protocols, releases
from semblance.manifests.splits.config import COLUMNS, FRACTIONS, DatasetTraits, Protocol, SplitConfig
from semblance.manifests.splits.estimated import Estimates, person_estimated
from semblance.manifests.splits.identity_graph import Row
from semblance.manifests.splits.protocols import Notes, Outcome, SplitOf
from semblance.manifests.splits.temporal import temporal

_ASKED: Final = "person_estimated"  # nobody misses it who did not ask for it


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolNotes:
    """Sentences about each available protocol, and why the others are unavailable."""

    facts: Mapping[str, Sequence[str]]
    balance: Mapping[str, Sequence[str]]  # splits whose ratio of reals to fakes differs
    absent: Mapping[str, str]

    def of(self, protocol: str) -> tuple[str, ...]:
        """The sentences about one protocol; none if it is unavailable."""
        return (*self.facts.get(protocol, ()), *self.balance.get(protocol, ()))

    def lines(self, protocol: str) -> tuple[str, ...]:
        """Sentences about the active protocol, then about the others, then why some columns are null."""
        others = [f"split_{name}: {fact}" for name in COLUMNS if name != protocol for fact in self.of(name)]
        absent = [name for name in COLUMNS if name in self.absent and name != _ASKED]
        missing = [f"split_{name} is null: {self.absent[name]}" for name in absent]
        return (*self.of(protocol), *others, *missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """A plan with its split columns filled, the active protocol (column ``split``), and notes on all protocols."""

    table: pl.DataFrame
    protocol: Protocol
    notes: ProtocolNotes

    @property
    def facts(self) -> tuple[str, ...]:
        return self.notes.lines(self.protocol)


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


def assign(
    videos: pl.DataFrame,
    config: SplitConfig,
    seed: int,
    traits: DatasetTraits | None = None,
    estimates: Estimates | None = None,
) -> Assigned:
    """Fill every protocol's column, and ``split`` and ``split_note`` from the active protocol.

    ``split_official`` is expected as the authors published it. Unlabelled videos are unassigned. The result does not
    depend on the order of the rows. ``estimates``: those of ``config.persons``. Raises UsageError if the requested
    protocol is unavailable for these videos.
    """
    traits = traits or DatasetTraits()
    rows = sorted(videos.iter_rows(named=True), key=lambda row: row["video_id"])
    known = [row for row in rows if row["label"] is not None]
    shares = config.fractions or FRACTIONS
    family = protocols.family(known, shares, seed, paired=traits.paired)
    official = protocols.official(known, shares, seed, val_from_train=traits.val_from_train, paired=traits.paired)
    outcomes = {
        "official": official,
        "official_clean": protocols.official_clean(known, official, config.against),
        "family": family,
        "identity": protocols.identity(known, shares, seed, traits.basis),
        "method": protocols.method(known, family.splits, config.held_out, config.rotate),
        "temporal": temporal(known, shares),
        "person_estimated": person_estimated(known, shares, seed, estimates),
    }
    return _assigned(named(videos, estimates), known, outcomes, config)


def activate(
    plan: pl.DataFrame,
    config: SplitConfig,
    notes: ProtocolNotes,
    seed: int = 0,
    estimates: Estimates | None = None,
) -> Assigned:
    """Make another protocol active in a plan whose protocol columns are filled already.

    The columns are used as they are. Protocol ``method``, whose held-out methods may have changed, and
    ``official_clean`` are computed from the rows, and ``person_estimated`` from ``estimates`` and ``seed`` if they are
    given. ``notes``: those of the plan when it was made. Raises UsageError if
    the requested protocol is unavailable for these videos.
    """
    rows = [row for row in plan.sort("video_id").iter_rows(named=True) if row["label"] is not None]
    outcomes = {}
    for name in ("official", "family", "identity", "temporal", "person_estimated"):
        outcomes[name] = protocols.from_column(rows, name, notes.facts.get(name, ()), notes.absent.get(name, ""))
    outcomes["official_clean"] = protocols.official_clean(rows, outcomes["official"], config.against)
    outcomes["method"] = protocols.method(rows, outcomes["family"].splits, config.held_out, config.rotate)
    if estimates is not None:
        shares = config.fractions or FRACTIONS
        outcomes["person_estimated"] = person_estimated(rows, shares, seed, estimates)
    return _assigned(named(plan, estimates), rows, outcomes, config)


def named(videos: pl.DataFrame, estimates: Estimates | None) -> pl.DataFrame:
    """The videos with ``persons_estimated`` as ``estimates`` has them."""
    if estimates is None:
        return videos
    named = [one.persons if (one := estimates.of.get(name)) else () for name in videos["video_id"]]
    values = pl.Series("persons_estimated", [list(names) or None for names in named], pl.List(pl.String))
    return videos.with_columns(values)


def _assigned(
    videos: pl.DataFrame, known: Sequence[Row], outcomes: dict[str, Outcome], config: SplitConfig
) -> Assigned:
    protocol = _active_protocol(known, outcomes, config)
    unlabelled = videos.filter(pl.col("label").is_null())["video_id"]
    reasons = dict.fromkeys(unlabelled, "unlabelled: no usable metadata") | outcomes[protocol].notes
    available = {name: outcome for name, outcome in outcomes.items() if outcome.splits}
    notes = ProtocolNotes(
        facts={name: tuple(outcome.facts) for name, outcome in available.items()},
        balance={name: tuple(_balance(known, outcome.splits, name)) for name, outcome in available.items()},
        absent={name: outcome.why for name, outcome in outcomes.items() if name not in available},
    )
    return Assigned(table=_filled(videos, outcomes, protocol, reasons), protocol=protocol, notes=notes)


def methods_of(plan: pl.DataFrame) -> list[str]:
    """The named methods of a plan's fakes, in alphabetical order."""
    return protocols.methods(plan.select("label", "method").unique().to_dicts())


def hold_out(plan: pl.DataFrame, methods: Collection[str]) -> pl.DataFrame:
    """Protocol ``method`` for other held-out methods, computed from a plan's rows.

    Returns video_id, split_method and split_note (the reason where split_method is null) in the plan's order.
    Raises UsageError for a method that no fake has, or if families are unknown.
    """
    rows = [row for row in plan.iter_rows(named=True) if row["label"] is not None]
    families: SplitOf = {row["video_id"]: row["split_family"] for row in rows if row["split_family"]}
    outcome = protocols.method(rows, families, methods)
    if not outcome.splits:
        raise UsageError(f"No method can be held out here: {outcome.why}.")
    ids = plan["video_id"].to_list()
    return pl.DataFrame(
        {
            "video_id": ids,
            "split_method": [outcome.splits.get(name) for name in ids],
            "split_note": [outcome.notes.get(name) for name in ids],
        },
        schema=dict.fromkeys(("video_id", "split_method", "split_note"), pl.String),
    )


def over_time(plans: Sequence[pl.DataFrame], fractions: Sequence[float]) -> tuple[pl.DataFrame, list[str]]:
    """Protocol ``temporal`` over the videos of several plans, oldest in train; and sentences about it.

    A plan without any date uses the release dates of its datasets and methods. Returns dataset, video_id, method,
    label, date, split_temporal and split_note, in the plans' order. Raises UsageError if too few dates are known.
    """
    dated = [plan if plan["date"].null_count() < plan.height else releases.with_releases(plan) for plan in plans]
    combined = pl.concat([plan.select(schema.PLAN.names) for plan in dated])
    rows = [row for row in combined.iter_rows(named=True) if row["label"] is not None]
    outcome = temporal(rows, fractions)
    if not outcome.splits:
        raise UsageError(f"These videos cannot be split by time: {outcome.why}.")
    ids = combined["video_id"].to_list()
    table = combined.select("dataset", "video_id", "method", "label", "date").with_columns(
        pl.Series("split_temporal", [outcome.splits.get(name) for name in ids], pl.String),
        pl.Series("split_note", [outcome.notes.get(name) for name in ids], pl.String),
    )
    return table, [*releases.sources_of(combined), *outcome.facts]


def _filled(videos: pl.DataFrame, outcomes: dict[str, Outcome], protocol: str, reasons: Notes) -> pl.DataFrame:
    ids = videos["video_id"].to_list()
    columns = [
        pl.Series(f"split_{name}", [outcomes[name].splits.get(video_id) for video_id in ids], pl.String)
        for name in COLUMNS
    ]
    split = [outcomes[protocol].splits.get(video_id) or "unassigned" for video_id in ids]
    text = [
        None if name != "unassigned" else reasons.get(video_id, f"no split under protocol {protocol}")
        for video_id, name in zip(ids, split, strict=True)
    ]
    return videos.with_columns(
        *columns, pl.Series("split", split, pl.String), pl.Series("split_note", text, pl.String)
    ).select(videos.columns)


def _active_protocol(rows: Sequence[Row], outcomes: dict[str, Outcome], config: SplitConfig) -> Protocol:
    """The requested protocol; for ``auto`` the first usable one of identity, family and official, before them
    person_estimated if there is a table of estimates.

    A protocol with a split of only reals or only fakes is not usable. It is skipped, with a note, if a later one is.
    """
    names: tuple[Protocol, ...] = ("identity", "family", "official")
    if config.persons is not None:
        names = ("person_estimated", *names)
    if config.protocol == "auto":
        available = [name for name in names if outcomes[name].splits]
        first: Protocol = available[0] if available else "family"
        if config.persons is not None and "person_estimated" not in available:
            outcomes[first].facts.append(f"split.persons={config.persons} is not used: {outcomes[_ASKED].why}")
        active: Protocol = next((name for name in available if _usable(rows, outcomes[name].splits)), first)
        for name in available[: available.index(active) if available else 0]:
            outcomes[active].facts.append(
                f"auto skips {name}, since one of its splits would hold only reals or only fakes; choose it with "
                f"--set split.protocol={name}"
            )
        return active
    if not outcomes[config.protocol].splits:
        others = ", ".join(name for name in (*COLUMNS, "official_clean") if outcomes[name].splits) or "none"
        raise UsageError(
            f"split.protocol={config.protocol} is not available for these videos: {outcomes[config.protocol].why}; "
            f"available protocols: {others}."
        )
    return config.protocol


def _usable(rows: Sequence[Row], splits: SplitOf) -> bool:
    """Whether every split with videos has both reals and fakes."""
    labels: dict[str | None, set[int]] = {}
    for row in rows:
        if protocols.counts(row):
            labels.setdefault(splits.get(row["video_id"]), set()).add(row["label"])
    return all(len(classes) == 2 for split, classes in labels.items() if split in TRAIN_VAL_TEST)


def _balance(rows: Sequence[Row], splits: SplitOf, protocol: str) -> list[str]:
    """A sentence for each split without reals or fakes, or whose odds of reals are off by more than a factor of two."""
    counts = {split: [0, 0] for split in TRAIN_VAL_TEST}
    for row in rows:
        split = splits.get(row["video_id"])
        if split in counts and protocols.counts(row):
            counts[split][row["label"]] += 1
    combined = [sum(count[label] for count in counts.values()) for label in (0, 1)]
    if not all(combined):
        return []
    facts = []
    for split, (reals, fakes) in counts.items():
        if not reals and not fakes:
            continue
        usual, here = combined[0] / sum(combined), reals / (reals + fakes)
        odds, usually = reals * combined[1], fakes * combined[0]  # their ratio is the odds ratio
        if not reals or not fakes or odds > 2 * usually or usually > 2 * odds:
            facts.append(
                f"unbalanced under {protocol}: {split} has {_counted(reals, 'real')} and {_counted(fakes, 'fake')} "
                f"({here:.0%} real, {usual:.0%} overall)"
            )
    return facts


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
