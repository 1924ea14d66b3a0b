"""The audit: findings on the files, coverage, leaks and labels of builds, with their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import polars as pl

from semblance.manifests import overlap, scan
from semblance.quality import builds as audited
from semblance.quality.audit import checks as dataset_checks
from semblance.quality.audit import estimated, leak_table, pair_table
from semblance.quality.audit import findings as judge
from semblance.quality.audit.result import Asked, Audit, BuildAudit
from semblance.quality.builds import Audited
from semblance.quality.checks import gated_faces, shares
from semblance.quality.duplicates import clusters
from semblance.quality.duplicates.recordings import Recordings, same_recordings
from semblance.quality.duplicates.search import Near, near
from semblance.quality.duplicates.sequences import DuplicateConfig
from semblance.shards.verify import verify

MOST_PAIRS: Final = 5000  # compared on pixels
NO_FACE: Final = "no hashed face"  # why a video was not searched for copies
TOO_FEW: Final = "too few hashed frames"


def audit(
    outs: Sequence[str],
    *,
    plan: bool = False,
    allow: Sequence[str] = (),
    config: DuplicateConfig | None = None,
    most: int = MOST_PAIRS,
    attributes: str | None = None,
) -> Audit:
    """Audit builds, or plans alone, each by itself and against each other.

    A leak breaks the audit if the active protocol promises that there is none. ``official`` itself promises nothing,
    but sharing families, people or recordings breaks it too, because its test results would mislead. So do equal
    pictures, confirmed near-duplicate videos and videos seen to show one recording in two splits, and videos that
    match by hash alone under protocols that separate recordings. Between builds, test of one must not share with train
    or val of another: videos, families, whatever both protocols promise, equal pictures, near-duplicates, recordings.

    ``allow`` names accepted leaks by id, ``kind:id``, or one video of a pair. At most ``most`` pairs of videos are
    compared on pixels. ``attributes`` is a table of groups for the filter check of the first build.

    Raises SemblanceError for a folder that is not a build, UsageError for a table without ``plan``.
    """
    config = config or DuplicateConfig()
    builds = audited.read(outs, plan=plan)
    numbered = audited.videos(builds)
    pairs = list(combinations(range(len(builds)), 2))
    found = [leak_table.inside(build) for build in builds]
    shared = {pair: _shared(builds[pair[0]], builds[pair[1]]) for pair in pairs}
    counts = {pair: _counts(rows) for pair, rows in shared.items()}
    hashed, duplicates, recordings = None, None, None
    pictures: list[dict[str, tuple[int, int]] | None] = [None] * len(builds)
    if not plan:
        hashed = audited.samples(builds, numbered, config.least_frames)
        for place, build in enumerate(builds):
            equal, pictures[place] = leak_table.equal_inside(build, place, numbered, hashed)
            found.append(equal)
        duplicates = near(builds, numbered, hashed, config, most)
        recordings = same_recordings(builds, numbered, duplicates.pairs.filter("confirmed"), most)
        shown = recordings.pairs.filter("confirmed").select("a", "b")
        by_hash = duplicates.pairs.join(shown, on=["a", "b"], how="anti")
        found.append(pair_table.near_duplicates(builds, numbered, by_hash))
        unnamed = recordings.pairs.join(by_hash.select("a", "b"), on=["a", "b"], how="anti")
        found.append(pair_table.recordings(builds, numbered, unnamed))
        for one, other in pairs:
            equal = leak_table.equal_between(builds, (one, other), numbered, hashed)
            shared[one, other] = pl.concat([shared[one, other], equal])
            near_counts = _counts(_copies(duplicates, recordings, numbered, one, other).rename(_SIDES))
            counts[one, other] = pl.concat([_counts(shared[one, other]), near_counts])
    found += [leak_table.between_builds(builds, pair, rows) for pair, rows in shared.items()]
    table, idle = leak_table.allowed(pl.concat(found), allow)
    wrong = table.filter(~pl.col("allowed"))
    names = {pair: (builds[pair[0]].name, builds[pair[1]].name) for pair in pairs}
    return Audit(
        builds=tuple(
            _one(build, place, numbered, hashed, wrong, pictures[place], duplicates, recordings, attributes)
            for place, build in enumerate(builds)
        ),
        across={
            (one, other): judge.ordered(judge.of_two_builds(wrong.filter(build=one, other=other)))
            for one, other in names.values()
        },
        between={names[pair]: rows for pair, rows in counts.items()},
        copies={names[pair]: _copies(duplicates, recordings, numbered, *pair) for pair in pairs},
        near=duplicates,
        recordings=recordings,
        leaks=table.sort("build", "other", "column", "kind", "id", nulls_last=False),
        idle=idle,
        asked=Asked(plan=plan, allow=tuple(allow), config=config, most=most, attributes=attributes),
    )


def _shared(one: Audited, other: Audited) -> pl.DataFrame:
    """The ids that two builds share; estimated people too if one run estimated them in both."""
    return overlap.between(one.plan, other.plan, one_run=one.shares_run(other))


def _one(
    build: Audited,
    place: int,
    numbered: pl.DataFrame,
    hashed: pl.DataFrame | None,
    wrong: pl.DataFrame,
    pictures: dict[str, tuple[int, int]] | None,
    duplicates: Near | None,
    recordings: Recordings | None,
    attributes: str | None,
) -> BuildAudit:
    """The evidence and findings of one build."""
    own = numbered.filter(pl.col("build") == place)
    crops = None if hashed is None else hashed.filter(pl.col("number").is_in(own["number"].implode()))
    problems = tuple(verify(build.name, deep=False).problems) if build.shards else ()
    coverage = audited.coverage(build, own, crops)
    figures = {
        column: overlap.figures(build.plan, column, build.kinds(column))
        for column in overlap.COLUMNS_AUDITED
        if overlap.assigned(build.plan, column).height
    }
    copies = _copies(duplicates, recordings, numbered, place, place)
    unsearched = None if duplicates is None or crops is None else _unsearched(duplicates, own, crops)
    unseen = _unseen(duplicates, own) + _unseen(recordings, own)
    checks = dataset_checks.measure(build.name, attributes if place == 0 else None) if build.shards else None
    lost = shares.measure(build.name) if build.shards else None
    gated = gated_faces.rejected(build.name) if build.shards else frozenset()
    people = estimated.people(build) if build.shards else None
    found = [
        *judge.of_files(build, problems),
        *judge.of_leaks(build, wrong),
        *judge.of_coverage(build, coverage, gated),
        *(judge.of_videos(scan(build.name, "videos"), build.protocol, gated) if build.shards else ()),
        *(lost.findings() if lost is not None else ()),
        *(checks.findings() if checks is not None else ()),
        *judge.of_identities(build, figures.get("split"), people),
        *judge.of_search(
            unsearched,
            own.height,
            unseen,
            _inside(copies),
            unhashed=recordings is not None and place in recordings.older,
        ),
    ]
    return BuildAudit(
        build=build,
        findings=judge.ordered(found),
        problems=problems,
        coverage=coverage,
        figures=figures,
        pictures=pictures,
        copies=copies,
        unsearched=unsearched,
        not_compared=unseen,
        checks=checks,
        shares=lost,
        estimated=people,
    )


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    """How many ids two builds share, by kind and splits."""
    return rows.group_by("kind", "side", "other_side").len("ids").sort("kind", "side", "other_side")


def _copies(
    duplicates: Near | None, recordings: Recordings | None, numbered: pl.DataFrame, one: int, other: int
) -> pl.DataFrame:
    """The confirmed pairs between two builds, or within one (columns: ``BuildAudit.copies``)."""
    ends = numbered.select(pl.col("number").cast(pl.Int64), "video_id", "split", "build")
    first, second = (
        ends.rename({"number": end, "video_id": name, "split": split, "build": f"build_{end}"})
        for end, name, split in (("a", "video", "split"), ("b", "other", "other_split"))
    )
    parts = [pl.DataFrame(schema=_PAIRS)]
    if duplicates is not None and recordings is not None:
        parts.append(duplicates.pairs.with_columns(kind=pl.lit("near_duplicate"), how=pl.lit(None, pl.String)))
        parts.append(recordings.pairs.with_columns(kind=pl.lit("same_recording")))
    return (
        pl.concat([part.select(list(_PAIRS)).cast(_PAIRS) for part in parts])  # type: ignore[arg-type]
        .filter("confirmed")
        .join(first, on="a")
        .join(second, on="b")
        .filter((pl.col("build_a") == one) & (pl.col("build_b") == other))
        .select(
            "video",
            "other",
            "split",
            "other_split",
            shared=pl.col("matched").cast(pl.UInt32),
            share=(pl.col("matched") / pl.col("sampled")).clip(0, 1),
            kind="kind",
            how="how",
        )
        .sort("video", "other")
    )


def _unseen(duplicates: Near | Recordings | None, own: pl.DataFrame) -> int:
    """Pairs within a build that match by hash and could have been compared on pixels, but were not."""
    if duplicates is None:
        return 0
    here = own["number"].cast(pl.Int64).implode()
    pairs = duplicates.pairs.filter(pl.col("a").cast(pl.Int64).is_in(here) & pl.col("b").cast(pl.Int64).is_in(here))
    return pairs.filter(pl.col("confirmed").is_null() & pl.col("stored")).height


def _unsearched(duplicates: Near, own: pl.DataFrame, crops: pl.DataFrame) -> pl.DataFrame:
    """The videos of a build that were not compared with others, and why: video_id, why."""
    hashed = crops["number"].unique()
    missed = own.filter(~pl.Series(duplicates.searched[own["number"].to_numpy()], dtype=pl.Boolean))
    why = pl.when(pl.col("number").is_in(hashed.implode())).then(pl.lit(TOO_FEW)).otherwise(pl.lit(NO_FACE))
    return missed.select("video_id", why=why).sort("video_id")


def _inside(copies: pl.DataFrame) -> pl.DataFrame:
    """The copies that are in one split, or in none."""
    return copies.join(clusters.across(copies), on=["video", "other"], how="anti")


_PAIRS: Final = {
    "a": pl.Int64,
    "b": pl.Int64,
    "matched": pl.Int64,
    "sampled": pl.Int64,
    "confirmed": pl.Boolean,
    "kind": pl.String,
    "how": pl.String,
}
_SIDES: Final = {"split": "side", "other_split": "other_side"}
