"""The judgement of an audit: turns evidence on files, leaks and coverage into findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from semblance.manifests import leaks, overlap
from semblance.manifests.records import FAILURES, TRAIN_VAL_TEST, Finding, Level
from semblance.quality.audit.evidence import EstimatedPeople
from semblance.quality.audit.leak_table import COPIES, NO_CROP
from semblance.quality.builds import Audited

ONE: Final[Mapping[str, str]] = MappingProxyType(
    {
        **leaks.ONE,
        "video": "video",
        "bytes": "equal picture",
        "near_duplicate": "near-duplicate pair",
        "same_recording": "pair that shows one recording",
        "shared_recording": "pair from one recording by hash alone",
        "target_recording": "fake in another split than its target's recording",
        "donor_recording": "fake in another split than its donor's recording",
    }
)
MANY: Final[Mapping[str, str]] = MappingProxyType(
    {
        **leaks.WORDS,
        "video": "videos",
        "bytes": "equal pictures",
        "near_duplicate": "near-duplicate pairs",
        "same_recording": "pairs that show one recording",
        "shared_recording": "pairs from one recording by hash alone",
        "target_recording": "fakes in another split than their target's recording",
        "donor_recording": "fakes in another split than their donor's recording",
    }
)
PEOPLE: Final = "people"  # the law of findings on who is in the videos, known or estimated
BUDGET: Final = 0.01  # of the planned videos may fail
HARDLY: Final = 0.1  # of a split's reals or fakes: with fewer kept, its results are unreliable
_ORDER: Final[Mapping[Level, int]] = MappingProxyType({"broken": 0, "warning": 1, "note": 2})
_AGAIN: Final = "Run the same `ingest build` again: it repairs its shards. `shards verify OUT` lists every fault."
_COPIES: Final = (
    "Give both one `original` in the table of dataset `folder`, or drop the copies of test videos: `quality audit OUT "
    "--keep keep.parquet`, then `shards repack OUT --split PROTOCOL --keep keep.parquet --to OUT2`."
)
_UNPROMISED: Final = ("person", "recording", "shared_recording", overlap.ESTIMATED)  # reported whether promised or not
_LISTED: Final = 6  # items in one finding


def level(findings: Iterable[Finding]) -> Level:
    """The worst level; ``note`` if there are no findings."""
    return min((finding.level for finding in findings), key=_ORDER.__getitem__, default="note")


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first; equals keep their order."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.level]))


def counted(count: int, kind: str) -> str:
    """A count with its noun: 1 equal picture, 2 people."""
    return f"{count:,} {(ONE if count == 1 else MANY)[kind]}"


def of_files(build: Audited, problems: Sequence[str]) -> Iterator[Finding]:
    """Whether the build is finished, and what ``shards verify`` found in its files and rows."""
    if build.shards and not build.description:
        yield Finding(
            level="broken",
            law="files",
            what="the build is not finished (no readable dataset.json)",
            remedy="Run the same `ingest build` again; it resumes where it stopped.",
        )
    if problems:
        faults = f"{len(problems):,} {'problem' if len(problems) == 1 else 'problems'} in receipts, rows or shards"
        yield Finding(level="broken", law="files", what=faults, remedy=_AGAIN, ids=tuple(problems))
    if build.description.get("synthetic"):
        yield Finding(
            level="note",
            law="files",
            what="SYNTHETIC: every person and video here was invented by `ingest demo`",
            remedy="Results on it say nothing about the dataset whose layout it copies.",
        )


def of_leaks(build: Audited, table: pl.DataFrame) -> Iterator[Finding]:
    """Leaks of the active split: ids (``manifests.leaks``), equal pictures, near-duplicates, shared recordings.

    ``table`` holds those that are not accepted (columns: ``leak_table.LEAKS``).
    """
    rows = table.filter((pl.col("build") == build.name) & pl.col("other").is_null() & (pl.col("column") == "split"))
    yield from leaks.judged(rows, build.plan, build.protocol, build.against)
    unused = pl.col("note").str.ends_with(NO_CROP).fill_null(value=False)
    where = f"in more than one of train, val and test under {build.protocol}"
    for kind in COPIES:
        own = rows.filter((pl.col("kind") == kind) & ~unused)
        for breaks in (True, False):
            ids = tuple(own.filter(pl.col("breaks") == breaks)["id"].sort())
            if ids:
                yield Finding(
                    level="broken" if breaks else "warning",
                    law="copies",
                    what=f"{counted(len(ids), kind)} {where}"
                    f"{'' if breaks else f' ({build.protocol} does not separate recordings)'}",
                    remedy=_COPIES,
                    ids=ids,
                )
    if ids := tuple(rows.filter(pl.col("kind").is_in(COPIES) & unused)["id"].sort()):
        what = f"{counted(len(ids), 'shared_recording')} {where}, of which one video has no stored crop"
        remedy = "Nothing of that video is trained or tested on, as long as the gates and the list of kept videos stay."
        yield Finding(level="note", law="copies", what=what, remedy=remedy, ids=ids)


def of_two_builds(table: pl.DataFrame) -> Iterator[Finding]:
    """Whatever one of two builds tests and the other trains or validates on, promised or not.

    ``table`` holds the leaks of these two that are not accepted (columns: ``leak_table.LEAKS``).
    """
    rows = table.filter(pl.col("breaks") | pl.col("kind").is_in(_UNPROMISED))
    for (kind, breaks), leaking in rows.group_by(["kind", "breaks"], maintain_order=True):
        yield Finding(
            level="broken" if breaks else "warning",
            law="copies" if kind in COPIES else leaks.LAW,
            what=f"{counted(leaking.height, str(kind))} in test of one build and in train or val of another"
            f"{'' if breaks else ', but the protocols do not both separate them'}",
            remedy="Do not train on one and test on the other. `quality audit --to FILE` lists every leak.",
            ids=tuple(leaking["id"]),
        )


def of_identities(build: Audited, figures: pl.DataFrame | None, estimated: EstimatedPeople | None) -> Iterator[Finding]:
    """The limits of what the ids of people can prove, and people estimated from faces in several splits."""
    if estimated is not None and estimated.test_videos_shared:
        share = estimated.test_videos_shared / estimated.test_videos
        yield Finding(
            level="warning",
            law=PEOPLE,
            what=f"estimated from faces: {estimated.test_videos_shared:,} of {estimated.test_videos:,} test videos "
            f"({share:.1%}) show somebody who is in train or val too",
            remedy="Separate them with `shards repack OUT --split person_estimated --to OUT2`. It is an estimate: "
            "`quality persons` says how far to trust it.",
            ids=tuple(one.person for one in estimated.shared),
        )
    if overlap.of_recordings(build.plan):
        what = "people are identified by recording only: a person in several recordings is not recognised"
        yield Finding(level="note", law=PEOPLE, what=what)
    if figures is None:
        return
    people = figures.filter(pl.col("kind") == "person")
    if not people.height or not people["known"].item():
        what = "no people are named, so no split of this dataset can be shown to separate people"
        yield Finding(level="note", law=PEOPLE, what=what)
    elif unknown := people["unknown"].item():
        what = f"{unknown:,} videos name nobody, so their people cannot be shown to be in one split only"
        yield Finding(level="note", law=PEOPLE, what=what)


def _fuller(protocol: str, *, gated: bool) -> str:
    """How a split of this protocol gets more videos with crops; ``gated``: a gate rejected faces in it."""
    gates = ", loosen the gates" if gated else ""
    if protocol.startswith("official"):
        return (
            f"This split is as published, or your table's: add videos to it{gates}, or choose another split.protocol."
        )
    change = "split.held_out or split.fractions" if protocol == "method" else "split.fractions"
    return f"Change {change}{gates}, or build more videos."


def of_coverage(
    build: Audited, coverage: Sequence[Mapping[str, Any]], gated: Set[tuple[str, int]]
) -> Iterator[Finding]:
    """Splits that cannot be trained or evaluated on: no reals or no fakes, or hardly any with a kept crop.

    ``gated``: the splits and labels of which a gate rejected a face.
    """
    rows = {row["split"]: row for row in coverage}
    empty = {"split": None, "real": 0, "fake": 0, "used_real": 0, "used_fake": 0}
    for split in TRAIN_VAL_TEST:
        row = rows.get(split, empty)
        purpose = "nothing can be learned from it" if split == "train" else "nothing can be evaluated on it"
        usable = "with a kept crop" if build.shards else "present"
        missing = [kind for kind in ("real", "fake") if not row[f"used_{kind}"]]
        few = [kind for kind in ("real", "fake") if 0 < row[f"used_{kind}"] < HARDLY * row[kind]]
        if missing:
            what = " and ".join(
                f"no {kind}{f' ({row[kind]:,} videos, none {usable})' if row[kind] else ''}" for kind in missing
            )
            rejected = any((split, label) in gated for label, kind in enumerate(("real", "fake")) if kind in missing)
            remedy = _fuller(build.protocol, gated=rejected)
            yield Finding(level="warning", law="coverage", what=f"{split} has {what}: {purpose}", remedy=remedy)
        for kind in few:
            what = f"{split} has hardly any {kind} videos: {row[f'used_{kind}']:,} of {row[kind]:,} {usable}"
            remedy = _fuller(build.protocol, gated=(split, int(kind == "fake")) in gated)
            yield Finding(level="warning", law="coverage", what=what, remedy=remedy)


def of_videos(videos: pl.LazyFrame, protocol: str, gated: Set[tuple[str, int]]) -> Iterator[Finding]:
    """Failed videos, and compressions and methods that lost all their crops in a split.

    ``gated``: the splits and labels of which a gate rejected a face.
    """
    counts = videos.group_by("split", "label", "method", "compression").agg(
        videos=pl.len(), used=(pl.col("crops_kept") > 0).sum(), failed=pl.col("status").is_in(list(FAILURES)).sum()
    )
    rows = counts.collect()
    total, failed = int(rows["videos"].sum()), int(rows["failed"].sum())
    if failed:
        over = failed > BUDGET * total
        yield Finding(
            level="warning" if over else "note",
            law="failures",
            what=f"{failed:,} of {total:,} videos failed ({failed / total:.1%}; the budget is {BUDGET:.0%})",
            remedy="`quality report OUT` lists them by cause; repair the files and run the build again."
            if over
            else "",
        )
    emptied, where = [], set()
    for split in TRAIN_VAL_TEST:
        own = rows.filter(split=split)
        if own.filter(pl.col("used") > 0)["label"].n_unique() < 2:
            continue  # reported by of_coverage
        for column in ("compression", "method"):
            lost = own.group_by(column).agg(pl.col("videos", "used").sum()).filter(pl.col("used") == 0).sort(column)
            emptied += [
                f"{split} has no crop of {name} ({count:,} {'video' if count == 1 else 'videos'})"
                for name, count, _ in lost.iter_rows()
            ]
            where |= {split} if lost.height else set()
    if emptied:
        more = f", and {len(emptied) - _LISTED} more" if len(emptied) > _LISTED else ""
        what = f"part of a split has no crop: {', '.join(emptied[:_LISTED])}{more}"
        remedy = _fuller(protocol, gated=any(split in where for split, _ in gated))
        yield Finding(level="warning", law="coverage", what=what, remedy=remedy)


def of_search(
    unsearched: pl.DataFrame | None, videos: int, unseen: int, inside: pl.DataFrame, *, unhashed: bool = False
) -> Iterator[Finding]:
    """What the search for copies did not cover, and copies that are not leaks.

    ``unsearched`` are those of the ``videos`` that were not compared (video_id, why), ``unseen`` pairs were not
    compared on pixels; ``inside`` are copies in one split (columns video, other, kind). ``unhashed``: the build has no
    hashes of aligned faces.
    """
    for kind in ("near_duplicate", "same_recording"):
        ids = tuple(
            f"{video}+{other}" for video, other in inside.filter(kind=kind).select("video", "other").iter_rows()
        )
        if ids:
            what = f"{counted(len(ids), kind)} across families in one split: counted twice, or one clip under two names"
            yield Finding(level="note", law="copies", what=what, ids=ids)
    if unhashed:
        why = "an older build, or faces that the dataset's authors cut out"
        what = f"no hashes of aligned faces ({why}): mirrored, cropped or framed copies were not searched for"
        yield Finding(level="note", law="copies", what=what)
    if unsearched is not None and unsearched.height:
        share = unsearched.height / videos
        why = ", ".join(f"{name} {count:,}" for name, count in unsearched.group_by("why").len().sort("why").iter_rows())
        yield Finding(
            level="note",
            law="copies",
            what=f"{unsearched.height:,} of {videos:,} videos were not searched for copies ({share:.1%}: {why})",
            ids=tuple(unsearched["video_id"]),
        )
    if unseen:
        what = f"{unseen:,} {'pair' if unseen == 1 else 'pairs'} matched by hash but not compared on pixels"
        yield Finding(level="note", law="copies", what=what, remedy="Raise --confirm of `quality audit`.")
