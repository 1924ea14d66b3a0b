"""The text of an audit: the verdict, sentences on what the tables leave out, and the JSON form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import polars as pl

from semblance.manifests import overlap
from semblance.manifests.records import Finding, Level
from semblance.quality.audit import findings as judge
from semblance.quality.audit import promises
from semblance.quality.audit.result import Audit, BuildAudit
from semblance.quality.duplicates.recordings import Recordings
from semblance.quality.duplicates.search import Near

EXAMPLES: Final = 5
HEADS: Final[Mapping[Level, str]] = MappingProxyType({"broken": "BROKEN", "warning": "WARNING", "note": "SOUND"})


def verdict(audit: Audit) -> str:
    """The first line: sound, or what is broken or doubtful, and where; then what no split of it promises."""
    return f"{_judged(audit)}{_caveats(audit)}"


def _judged(audit: Audit) -> str:
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
    promised = {kind for one in audit.builds for kind in one.promises.kept}
    kinds = [judge.ONE[kind] for kind in judge.ONE if kind in promised]
    kinds += [] if audit.near is None else ["equal picture", "near-duplicate video", "recording shown under two names"]
    known = f"{', '.join(kinds[:-1])} or {kinds[-1]}" if len(kinds) > 1 else "".join(kinds) or "id"
    across = "" if len(audit.builds) == 1 else ", or in test of one build and in train or val of another"
    checks = "all checks pass" if audit.near is not None else "all checks of a plan pass"
    return f"{head}: {builds}: {checks}; no known {known} is in two splits{across}"


def _caveats(audit: Audit) -> str:
    """``; not promised: people and recordings``, for each build if there are several."""
    parts = [(one.build.name, promises.caveat(one.promises)) for one in audit.builds]
    several = len(parts) > 1
    return "".join(f"; {f'{name}: ' if several else ''}{words}" for name, words in parts if words)


def coverage_line(audit: Audit) -> str:
    """The second line: the share of the videos that were not searched for copies; empty for plans."""
    parts = [
        f"{f'{one.build.name}: ' if len(audit.builds) > 1 else ''}{one.unsearched.height:,} of "
        f"{one.build.plan['fault'].null_count():,} videos ({one.blind:.1%})"
        for one in audit.builds
        if one.unsearched is not None
    ]
    return f"not searched for copies: {'; '.join(parts)}" if parts else ""


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
