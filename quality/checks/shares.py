"""What is lost between plan and training: videos without a kept crop, kept crops of fakes without a face label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import scan
from semblance.manifests.records import FAILURES, Finding
from semblance.quality.checks import remedies
from semblance.quality.measures import registry
from semblance.shards.repack.subset import REASON as NOT_KEPT

LIMIT: Final = 0.05  # of a label's or method's videos or crops; a larger share is a warning
HARSH: Final = 1 / 3  # of a label's faces; a gate that rejects a larger share is named at the end of a build
CHOSEN: Final = ("not in the frame list", "not in the keep list")  # why a video has no kept crop, but no loss
UNPUBLISHED: Final = "not published"
NAMES: Final[dict[int | None, str]] = {0: "real", 1: "fake", None: "unlabelled"}
_KEYS: Final = ("label", "method")
_NAMED: Final = 3  # ids in a sentence
Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One label and method. ``causes``: why videos have no kept crop; ``reasons``: why crops have no face label;
    ``rules``: what labelled the kept faces of fakes, and ``persons``: how many are in the kept crops, one video at a
    time; None in builds without these columns.
    """

    label: int | None
    method: str
    videos: int  # planned, but for those that a list of frames or videos leaves out
    lost: int  # of them, without a kept crop
    causes: Counts
    crops: int  # kept
    unlabelled: int  # of them, fakes without a face label
    reasons: Counts
    rules: Counts
    persons: int | None

    @property
    def lost_share(self) -> float:
        return self.lost / self.videos if self.videos else 0.0

    @property
    def unlabelled_share(self) -> float:
        return self.unlabelled / self.crops if self.crops else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """The rows by label and method, and the ids behind them.

    ``lost``: videos without a kept crop (video_id, label, method, cause); ``unlabelled``: fakes with kept crops that
    have no face label (video_id, method); ``unaltered``: fakes with kept crops of which none is labelled 1.
    ``masks``: the build asked for the dataset's masks.
    """

    rows: tuple[Row, ...]
    lost: pl.DataFrame
    unlabelled: pl.DataFrame
    unaltered: tuple[str, ...]
    masks: bool

    @property
    def totals(self) -> tuple[Row, ...]:
        """The rows of each label added up; their method is empty."""
        return tuple(_sum([row for row in self.rows if row.label == label]) for label in _labels(self.rows))

    def findings(self) -> Iterator[Finding]:
        """Warnings where a share exceeds ``LIMIT``, or fakes show no face that is known to be altered."""
        if named := self._above(lambda row: row.lost_share):
            parts = [_lost(row) for row in named]
            keys = {(row.label, row.method) for row in named}
            ids = [name for name, *key in self.lost.select("video_id", *_KEYS).iter_rows() if _named(key, keys)]
            what = f"whole videos are lost, without any kept crop: {'; '.join(parts)}"
            remedy = remedies.of_lost(dict(_added(row.causes for row in named)))
            yield Finding(level="warning", law="lost", what=what, remedy=remedy, ids=tuple(ids))
        if named := self._above(lambda row: row.unlabelled_share):
            parts = [_unlabelled(row, why=True) for row in named]
            keys = {(row.label, row.method) for row in named}
            ids = [name for name, method in self.unlabelled.iter_rows() if _named((1, method), keys)]
            what = f"kept crops of fakes have no face label: {'; '.join(parts)}"
            remedy = remedies.of_unlabelled(dict(_added(row.reasons for row in named)), masks=self.masks)
            yield Finding(level="warning", law="labels", what=what, remedy=remedy, ids=tuple(ids))
        if count := len(self.unaltered):
            noun = "fake" if count == 1 else "fakes"
            what = f"the kept crops of {count:,} {noun} show no face that is known to be altered"
            remedy = "Only untouched or unknown faces of them are kept: video metrics count them as fakes all the same."
            yield Finding(level="warning", law="labels", what=what, remedy=remedy, ids=self.unaltered)

    def warnings(self, out: str) -> Iterator[str]:
        """The findings as sentences for the build ``out``, with some ids and the remedy."""
        for finding in self.findings():
            more = f" and {len(finding.ids) - _NAMED:,} more" if len(finding.ids) > _NAMED else ""
            names = f" ({', '.join(finding.ids[:_NAMED])}{more})" if finding.ids else ""
            yield f"{finding.what}{names}. {finding.remedy.replace(' OUT', f' {out}')}".rstrip()

    def missing(self) -> Iterator[str]:
        """A sentence for each label of which no crop at all was kept."""
        totals = {row.label: row for row in self.totals}
        for label in (0, 1):
            row = totals.get(label)
            if row is None or not row.crops:
                why = (
                    "none is planned"
                    if row is None
                    else f"{row.videos:,} video{'s' if row.videos != 1 else ''}: {listed(row.causes)}"
                )
                yield f"No crop of a {NAMES[label]} video was kept ({why}): a detector cannot learn from this build."

    def lines(self) -> Iterator[str]:
        """The shares as text: one line a kind, the methods in it."""
        lost = [row for row in self.totals if row.lost or row.causes]
        if lost:
            yield f"no crop kept: {'; '.join(map(_lost, lost))}"
        fakes = [row for row in self.rows if row.label == 1 and row.crops]
        if fakes:
            yield f"kept crops of fakes without a face label: {', '.join(map(_unlabelled, fakes))}"
            if why := remedies.why_unlabelled(_added(row.reasons for row in fakes)):
                yield f"of these: {why}"

    def to_json(self) -> list[dict[str, Any]]:
        """The rows as JSON, with their shares."""
        return [
            asdict(row)
            | {"causes": dict(row.causes), "reasons": dict(row.reasons), "rules": dict(row.rules)}
            | {"lost_share": row.lost_share, "unlabelled_share": row.unlabelled_share}
            for row in self.rows
        ]

    def _above(self, share: Callable[[Row], float]) -> list[Row]:
        """The labels above the limit, and the methods above it and above their label."""
        found = []
        for total in self.totals:
            if total.label is not None:
                found += [total] if share(total) > LIMIT else []
                least = max(LIMIT, share(total))
                found += [row for row in self.rows if row.label == total.label and share(row) > least]
        return found


def measure(out: str) -> Shares:
    """The shares of the build ``out``, also an unfinished one; raises SemblanceError if ``out`` is not a build."""
    return of_tables(scan(out, "videos"), scan(out, flags=False), scan(out, "rejects"))


def of_tables(videos: pl.LazyFrame, samples: pl.LazyFrame, rejects: pl.LazyFrame) -> Shares:
    """The shares of three tables of a build, of any minor version of the schema."""
    method = pl.col("method").fill_null(UNPUBLISHED)
    rows = videos.select("video_id", "label", method, "status", "frames_sampled", "crops_kept", "masks").collect()
    crops = (
        samples.filter(pl.col("verdict") == "keep")
        .group_by("video_id", "label", method, "face_label", "face_label_by", reason=_why())
        .agg(crops=pl.len(), persons=pl.col("person").unique())
        .collect()
    )
    sampled = (pl.col("frames_sampled") > 0) | pl.col("status").is_in(list(FAILURES))
    left_out = rejects.filter(pl.col("reason") == NOT_KEPT).select("video_id").unique().collect()["video_id"].implode()
    cause = (
        pl.when(~sampled)
        .then(pl.lit(CHOSEN[0]))
        .when(pl.col("video_id").is_in(left_out))
        .then(pl.lit(CHOSEN[1]))
        .when(pl.col("status") == "ok")
        .then(pl.lit(remedies.REJECTED))
        .otherwise("status")
    )
    lost = rows.filter(pl.col("crops_kept").fill_null(0) == 0).select("video_id", *_KEYS, cause=cause).sort("video_id")
    fakes = crops.filter(pl.col("label") == 1)
    unlabelled = fakes.filter(pl.col("face_label").is_null()).select("video_id", "method").unique().sort("video_id")
    altered = fakes.filter(pl.col("face_label") == 1).select("video_id")
    unaltered = fakes.select("video_id").unique().join(altered, on="video_id", how="anti")["video_id"].sort()
    keys = sorted({*rows.select(_KEYS).iter_rows()}, key=lambda key: (9 if key[0] is None else key[0], key[1]))
    return Shares(
        rows=tuple(_row(label, name, rows, lost, crops) for label, name in keys),
        lost=lost,
        unlabelled=unlabelled,
        unaltered=tuple(unaltered),
        masks=bool(rows["masks"].is_not_null().any()),
    )


def _why() -> pl.Expr:
    """Why a kept face of a fake may have no label: it was compared with the original, or why not."""
    return (
        pl.when(pl.col("change_peak").is_not_null())
        .then(pl.lit(remedies.COMPARED))
        .when(pl.col("guide") == "original")
        .then(pl.lit(remedies.MOMENT))
        .otherwise(pl.col("guide").fill_null(remedies.UNGUIDED))
    )


def _row(label: int | None, method: str, videos: pl.DataFrame, lost: pl.DataFrame, crops: pl.DataFrame) -> Row:
    mine = pl.col("label").eq_missing(pl.lit(label, pl.Int8)) & (pl.col("method") == method)
    causes, own = _counts(lost.filter(mine)["cause"]), crops.filter(mine)
    skipped = sum(count for name, count in causes if name in CHOSEN)
    rules = own.drop_nulls("face_label_by").group_by("face_label_by").agg(pl.col("crops").sum()).sort("face_label_by")
    persons = own.explode("persons").drop_nulls("persons").select("video_id", "persons").n_unique()
    unlabelled = own.filter((pl.col("label") == 1) & pl.col("face_label").is_null())
    return Row(
        label=label,
        method=method,
        videos=videos.filter(mine).height - skipped,
        lost=sum(count for _, count in causes) - skipped,
        causes=causes,
        crops=int(own["crops"].sum()),
        unlabelled=int(unlabelled["crops"].sum()),
        reasons=_added([unlabelled.select("reason", "crops").iter_rows()]),
        rules=tuple(rules.iter_rows()),
        persons=persons or None,
    )


def _counts(values: pl.Series) -> Counts:
    """Values with their numbers, the most frequent first."""
    counted = values.value_counts(name="videos").sort("videos", values.name, descending=[True, False])
    return tuple(counted.iter_rows())


def _added(groups: Iterable[Iterable[tuple[str, int]]]) -> Counts:
    """The numbers of each name added up, the most frequent first."""
    total: Counter[str] = Counter()
    for counts in groups:
        for name, count in counts:
            total[name] += count
    return tuple(sorted(total.items(), key=lambda one: (-one[1], one[0])))


def _labels(rows: tuple[Row, ...]) -> list[int | None]:
    return list(dict.fromkeys(row.label for row in rows))


def _sum(rows: list[Row]) -> Row:
    known = [row.persons for row in rows if row.persons is not None]
    return Row(
        label=rows[0].label,
        method="",
        videos=sum(row.videos for row in rows),
        lost=sum(row.lost for row in rows),
        causes=_added(row.causes for row in rows),
        crops=sum(row.crops for row in rows),
        unlabelled=sum(row.unlabelled for row in rows),
        reasons=_added(row.reasons for row in rows),
        rules=tuple(sorted(_added(row.rules for row in rows))),
        persons=sum(known) if known else None,
    )


def listed(counts: Counts) -> str:
    """``no_face 5, oom 3``."""
    return ", ".join(f"{name} {count:,}" for name, count in counts)


def _lost(row: Row) -> str:
    """``3 of 20 fakes of FaceSwap (15.0%: no_face 3)``."""
    method = f" of {row.method}" if row.method else ""
    what = f"fakes{method}" if row.label == 1 else f"{NAMES[row.label]} videos"
    return f"{row.lost:,} of {row.videos:,} {what} ({row.lost_share:.1%}: {listed(row.causes)})"


def _unlabelled(row: Row, *, why: bool = False) -> str:
    """``FaceSwap 64 of 98 (65.3%)``; ``64 of 98 in all (65.3%)`` without a method; with the reasons if ``why``."""
    method, everything = (f"{row.method} ", "") if row.method else ("", " in all")
    reasons = f": {remedies.why_unlabelled(row.reasons)}" if why else ""
    return f"{method}{row.unlabelled:,} of {row.crops:,}{everything} ({row.unlabelled_share:.1%}{reasons})"


def _named(key: Any, keys: set[tuple[int | None, str]]) -> bool:
    """Whether a label and method are among those named; an empty method names the whole label."""
    label, method = key
    return (label, method) in keys or (label, "") in keys


def harsh_gates(out: str) -> Iterator[str]:
    """A sentence for each gate that rejected more than ``HARSH`` of the faces of a label, with where to look."""
    seen = scan(out, "videos").group_by("label").agg(pl.col("faces_seen").sum()).collect()
    faces = dict(seen.iter_rows())
    gone = scan(out, "rejects").filter((pl.col("unit") == "face") & pl.col("label").is_not_null())
    counted = gone.group_by("label", "reason").len().sort("label", "len", descending=[False, True]).collect()
    keys = {reason: gate.key for _, gate in registry.GATED for reason in gate.reasons}
    for label, reason, count in counted.iter_rows():
        if reason in keys and count > HARSH * faces[label]:
            yield (
                f"gate {keys[reason]} rejected {count:,} of {faces[label]:,} faces of {NAMES[label]} videos: "
                f"`quality thresholds {out}` shows what other limits would keep"
            )
