"""The text of an audit: the verdict, sentences on what the tables leave out, and the JSON form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from semblance.manifests import overlap
from semblance.manifests.records import Finding, Level
from semblance.quality.audit import findings as judge
from semblance.quality.audit.run import Audit, BuildAudit
from semblance.quality.duplicates.recordings import Recordings
from semblance.quality.duplicates.search import Near

EXAMPLES: Final = 5
HEADS: Final[Mapping[Level, str]] = MappingProxyType({"broken": "BROKEN", "warning": "WARNING", "note": "SOUND"})


def verdict(audit: Audit) -> str:
    """The first line: sound, or what is broken or doubtful, and where."""
    head = HEADS[judge.level(audit.findings)]
    accepted = audit.leaks.filter(pl.col("breaks") & pl.col("allowed")).height
    accepted_leaks = f" with {accepted:,} allowed {'leak' if accepted == 1 else 'leaks'}" if accepted else ""
    if head != "SOUND":
        level: Level = "broken" if head == "BROKEN" else "warning"
        parts = [
            f"{one.build.name} under {one.build.protocol}: {'; '.join(faults)}"
            for one in audit.builds
            if (faults := [finding.what for finding in one.findings if finding.level == level])
        ]
        parts += [
            f"between {one} and {other}: {finding.what}"
            for (one, other), findings in audit.across.items()
            for finding in findings
            if finding.level == level
        ]
        return f"{head}{accepted_leaks}: {'; '.join(parts)}"
    builds = ", ".join(f"{one.build.name} under {one.build.protocol}" for one in audit.builds)
    if accepted:
        return f"{head}{accepted_leaks}: {builds}"
    promises = {kind for one in audit.builds for kind in one.build.promise}
    kinds = [judge.ONE[kind] for kind in judge.ONE if kind in promises]
    kinds += [] if audit.near is None else ["equal picture", "near-duplicate video", "recording shown under two names"]
    known = f"{', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else kinds[0]
    across = "" if len(audit.builds) == 1 else ", or in test of one build and in train or val of another"
    return f"{head}: {builds}: all checks pass; no known {known} is in two splits{across}"


def headline(findings: Sequence[Finding]) -> str:
    """The verdict on a page that lists the findings below it."""
    head = HEADS[judge.level(findings)]
    if head == "SOUND":
        return "SOUND: no problem was found"
    broken, warned = (sum(one.level == level for one in findings) for level in ("broken", "warning"))
    parts = [f"{broken} broken"] if broken else []
    parts += [f"{warned} warning{'' if warned == 1 else 's'}"] if warned else []
    return f"{head}: {' and '.join(parts)}; read this before you train"


def named(finding: Finding, most: int = EXAMPLES) -> str:
    """The first ids of a finding, and how many more there are."""
    more = f" and {len(finding.ids) - most:,} more" if len(finding.ids) > most else ""
    return f"{', '.join(finding.ids[:most])}{more}"


def same(plan: pl.DataFrame, column: str) -> bool:
    """Whether a protocol's column assigns every video as the active split does."""
    return bool((plan["split"].fill_null("unassigned") == plan[column].fill_null("unassigned")).all())


def sentences(audit: Audit, one: BuildAudit) -> Iterator[str]:
    """What the table leaves out: fakes whose recording is in another split."""
    inside = audit.leaks.filter((pl.col("build") == one.build.name) & pl.col("other").is_null())
    for column in one.figures:
        if column != "split" and same(one.build.plan, column):
            continue
        fakes = overlap.assigned(one.build.plan, column).filter(pl.col("label") == 1)
        test = int((fakes["side"] == "test").sum())
        for kind, whose in (("target_recording", "target"), ("donor_recording", "donor")):
            rows = inside.filter((pl.col("column") == column) & (pl.col("kind") == kind))
            out, back = (int(((rows["side"] == "test") == tested).sum()) for tested in (True, False))
            if out or back:
                yield (
                    f"{column}: {out:,} of {test:,} test fakes have the real video of their {whose} outside test; "
                    f"{back:,} of {fakes.height - test:,} train and val fakes have it in test"
                )


def near_sentences(near: Near) -> list[str]:
    """What was compared, what was found, and the rate of false matches."""
    hashed = " and ".join(f"{count:,} by the hashes of their {seen}s" for seen, count in near.videos.items())
    lines = [
        f"near-duplicates: videos compared: {hashed}; {near.short:,} have too few hashed frames, {near.bare:,} none"
    ]
    if near.rejected:
        lines.append(f"{near.rejected:,} of them were searched by rejected faces too, because too few faces were kept")
    left = [(near.flat, "flat frames"), (near.common, "frames that resemble too many others")]
    left += [(near.thinned, "videos thinned to 128 frames")]
    if any(count for count, _ in left):
        lines.append(f"reduced search: {', '.join(f'{count:,} {what}' for count, what in left if count)}")
    confirmed = int(near.pairs["confirmed"].sum() or 0)
    unseen = int(near.pairs["confirmed"].is_null().sum())
    refuted = near.pairs.height - confirmed - unseen
    lines.append(
        f"{near.same_family:,} pairs within a family match, as expected; {near.pairs.height:,} pairs across families "
        f"match by hash: {confirmed:,} confirmed on pixels, {refuted:,} not (another moment or face of the same "
        f"scene, or chance), {unseen:,} not compared"
    )
    if near.unreadable:
        lines.append(f"{near.unreadable:,} pictures could not be read; run `shards verify --deep` for details")
    if near.different:
        rate = near.false_by_hash / near.different
        bound = f"{rate:.2g}" if near.false_by_hash else f"below {3 / near.different:.1g} at 95 % confidence"
        lines.append(
            f"false matches: of {near.different:,} pairs of videos known to show different people, "
            f"{near.false_by_hash:,} match by hash (rate {bound}) and {near.false_confirmed:,} were confirmed on pixels"
        )
    else:
        lines.append("rate of false matches unknown: no two videos are known to show different people")
    if not confirmed:
        lines.append("no shared frames were found; this does not exclude shared recordings or people")
    return lines


def recording_sentences(found: Recordings | None) -> list[str]:
    """What was found by aligned faces, and the rate of false matches."""
    if found is None:
        return []
    without = f", {found.unhashed:,} of them in builds without these hashes" if found.unhashed else ""
    confirmed = int(found.pairs["confirmed"].sum() or 0)
    lines = [
        f"recordings: {found.videos:,} videos compared by the hashes of their aligned faces, mirrored too; "
        f"{found.bare:,} have none{without}; {found.flat:,} flat faces, {found.common:,} that resemble too many others",
        f"{found.pairs.height + found.refuted:,} more pairs across families match by these hashes: {confirmed:,} seen "
        "to show one recording, mirrored, cropped, framed, re-timed or at other moments; "
        f"{found.refuted:,} not, {found.unseen:,} not compared, {found.unstored:,} without crops to compare",
    ]
    if found.unreadable:
        lines.append(f"{found.unreadable:,} pictures could not be read; run `shards verify --deep` for details")
    if found.different:
        lines.append(
            f"of {found.different:,} pairs known to show different people, {found.false_by_hash:,} match by these "
            f"hashes and {found.false_confirmed:,} were confirmed"
        )
    return lines


def examples(audit: Audit) -> Iterator[str]:
    """The first ids of every kind that breaks the audit."""
    failing = audit.failing()
    for (build, other, kind), rows in failing.group_by(["build", "other", "kind"], maintain_order=True):
        where = f"{build}" if other is None else f"between {build} and {other}"
        word = (judge.ONE if rows.height == 1 else judge.MANY)[str(kind)]
        named = rows.select("id", "note").head(EXAMPLES).rows()
        more = f" and {rows.height - EXAMPLES:,} more" if rows.height > EXAMPLES else ""
        if any(note for _, note in named):
            yield f"breaks {where}: {rows.height:,} {word}:"
            yield from (f"  {name}: {note}" for name, note in named)
            if more:
                yield f" {more}"
        else:
            yield f"breaks {where}: {rows.height:,} {word}: {', '.join(name for name, _ in named)}{more}"
    if failing.height:
        yield "--to FILE writes every leak; --allow ID or FILE accepts known leaks"


def to_json(audit: Audit) -> dict[str, Any]:
    """Everything except the table of ids, which ``--to`` writes; failing ids are included."""
    return {
        "verdict": verdict(audit),
        "level": judge.level(audit.findings),
        "broken": audit.broken,
        "builds": [
            {
                "build": one.build.name,
                "protocol": one.build.protocol,
                "findings": [asdict(finding) for finding in one.findings],
                "problems": list(one.problems),
                "coverage": one.coverage,
                "lost": None if one.shares is None else one.shares.to_json(),
                "figures": {column: rows.to_dicts() for column, rows in one.figures.items()},
                "equal_pictures": one.pictures,
            }
            for one in audit.builds
        ],
        "between": [
            {
                "build": one,
                "other": other,
                "findings": [asdict(finding) for finding in audit.across[one, other]],
                "shared": rows.to_dicts(),
            }
            for (one, other), rows in audit.between.items()
        ],
        "leaks": audit.leaks.group_by("build", "other", "column", "kind")
        .agg(pl.len().alias("ids"), pl.col("breaks").sum(), pl.col("allowed").sum())
        .sort("build", "other", "column", "kind")
        .to_dicts(),
        "failing": audit.failing().drop("breaks", "allowed").to_dicts(),
        "near_duplicates": None if audit.near is None else _near_json(audit.near),
        "same_recordings": None if audit.recordings is None else _recordings_json(audit.recordings),
    }


def _recordings_json(found: Recordings) -> dict[str, Any]:
    return {
        "compared": found.videos,
        "no_hash": found.bare,
        "no_hash_in_build": found.unhashed,
        "flat": found.flat,
        "common": found.common,
        "by_hash": found.pairs.height + found.refuted,
        "confirmed": int(found.pairs["confirmed"].sum() or 0),
        "not_confirmed": found.refuted,
        "no_crops": found.unstored,
        "not_looked_at": found.unseen,
        "unreadable": found.unreadable,
        "different_people": found.different,
        "false_by_hash": found.false_by_hash,
        "false_confirmed": found.false_confirmed,
    }


def _near_json(near: Near) -> dict[str, Any]:
    return {
        "compared": near.videos,
        "too_short": near.short,
        "no_hash": near.bare,
        "by_rejected_faces": near.rejected,
        "flat": near.flat,
        "common": near.common,
        "thinned": near.thinned,
        "one_family": near.same_family,
        "by_hash": near.pairs.height,
        "confirmed": int(near.pairs["confirmed"].sum() or 0),
        "not_looked_at": near.unseen,
        "unreadable": near.unreadable,
        "different_people": near.different,
        "false_by_hash": near.false_by_hash,
        "false_confirmed": near.false_confirmed,
    }
