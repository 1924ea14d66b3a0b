"""What an audit says: the verdict in a line, what tables cannot hold in sentences, and everything as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

from semblance.manifests import leaks
from semblance.quality.audit.run import Audit, BuildAudit
from semblance.quality.duplicates.search import Near

ONE: Final = {
    "family": "family",
    "target": "target",
    "donor": "donor",
    "person": "person",
    "recording": "recording",
    "method": "held-out method",
    "video": "video",
    "bytes": "equal picture",
    "near_duplicate": "near-duplicate pair",
    "target_recording": "fake apart from its target's recording",
    "donor_recording": "fake apart from its donor's recording",
}
MANY: Final = {
    "family": "families",
    "target": "targets",
    "donor": "donors",
    "person": "people",
    "recording": "recordings",
    "method": "held-out methods",
    "video": "videos",
    "bytes": "equal pictures",
    "near_duplicate": "near-duplicate pairs",
    "target_recording": "fakes apart from their target's recording",
    "donor_recording": "fakes apart from their donor's recording",
}
EXAMPLES: Final = 5


def verdict(audit: Audit) -> str:
    """The first line: sound, or what is broken where."""
    said = []
    for one in audit.builds:
        own = audit.failing().filter((pl.col("build") == one.build.name) & pl.col("other").is_null())
        parts = [f"{len(one.problems)} broken {'law' if len(one.problems) == 1 else 'laws'}"] if one.problems else []
        parts += _counted(own, f"under {one.build.protocol}")
        if parts:
            said.append(f"{one.build.name}: {', '.join(parts)}")
    for (one, other), rows in audit.failing().drop_nulls("other").group_by(["build", "other"], maintain_order=True):
        said.append(f"between {one} and {other}: {', '.join(_counted(rows, ''))}")
    accepted = audit.leaks.filter(pl.col("breaks") & pl.col("allowed")).height
    leaks_ = "leak" if accepted == 1 else "leaks"
    if said:
        return f"BROKEN{f' beside {accepted:,} allowed {leaks_}' if accepted else ''}: {'; '.join(said)}"
    builds = ", ".join(f"{one.build.name} under {one.build.protocol}" for one in audit.builds)
    unseen = 0 if audit.near is None else audit.near.unseen
    if accepted:
        return f"SOUND but for {accepted:,} allowed {leaks_}: {builds}"
    promises = {kind for one in audit.builds for kind in one.build.promise}
    kept = ", ".join(MANY[kind] for kind in MANY if kind in promises)
    seen = "" if audit.near is None else ", no equal picture, no near-duplicate video"
    open_ = f"; {unseen:,} pairs of alike videos were not compared on pixels" if unseen else ""
    where = "on two sides" if len(audit.builds) == 1 else "on two sides, or on test here and train or val there"
    return f"SOUND: {builds}: every law holds; none of the {kept} named in the rows{seen} {where}{open_}"


def _counted(rows: pl.DataFrame, under: str) -> list[str]:
    counts = dict(rows.group_by("kind").len().iter_rows())
    parts = [f"{counts[kind]:,} {(ONE if counts[kind] == 1 else MANY)[kind]}" for kind in MANY if kind in counts]
    return [f"{', '.join(parts)} on two sides {under}".rstrip()] if parts else []


def same(plan: pl.DataFrame, column: str) -> bool:
    """Whether a protocol's column says of every video what was laid out."""
    return bool((plan["split"].fill_null("unassigned") == plan[column].fill_null("unassigned")).all())


def sentences(audit: Audit, one: BuildAudit) -> Iterator[str]:
    """What the table cannot hold: fakes apart from their recordings, what is unknown, what the ids stand for."""
    inside = audit.leaks.filter((pl.col("build") == one.build.name) & pl.col("other").is_null())
    for column in one.figures:
        if column != "split" and same(one.build.plan, column):
            continue
        fakes = leaks.standing(one.build.plan, column).filter(pl.col("label") == 1)
        test = int((fakes["side"] == "test").sum())
        for kind, whose in (("target_recording", "target"), ("donor_recording", "donor")):
            rows = inside.filter((pl.col("column") == column) & (pl.col("kind") == kind))
            out, back = (int(((rows["side"] == "test") == tested).sum()) for tested in (True, False))
            if out or back:
                yield (
                    f"{column}: {out:,} of {test:,} test fakes have their {whose}'s recording, as a real, outside "
                    f"test, {back:,} of {fakes.height - test:,} train and val fakes have it in test"
                )
    if leaks.of_recordings(one.build.plan):
        yield "the ids of people are names of recordings: who stands in several recordings is not known"
    if bare := [row["split"] for row in one.coverage if not row["crops"] and one.build.shards]:
        yield f"no crop was kept on {', '.join(bare)}"
    laid_out = one.figures.get("split")
    if laid_out is not None and "person" not in set(laid_out["kind"]):
        yield "no people are named: that nobody stands on two sides is not proven by any split of this set"
    elif laid_out is not None:
        unknown = laid_out.filter(pl.col("kind") == "person")["unknown"].item()
        if unknown:
            yield f"{unknown:,} videos name nobody: that their people stand on one side alone is not proven"


def near_sentences(near: Near) -> list[str]:
    """What was compared, what was found, and how often chance alone finds something."""
    hashed = " and ".join(f"{count:,} by the hashes of their {seen}s" for seen, count in near.videos.items())
    said = [f"near-duplicates: videos compared: {hashed}; {near.short:,} have too few hashed frames"]
    left = [(near.flat, "frames are flat"), (near.common, "frames are like too many others")]
    left += [(near.thinned, "videos were thinned to 128 frames")]
    if any(count for count, _ in left):
        said.append(f"left out: {', '.join(f'{count:,} {what}' for count, what in left if count)}")
    confirmed = int(near.pairs["confirmed"].sum() or 0)
    refuted = near.pairs.height - confirmed - near.unseen
    said.append(
        f"{near.same_family:,} pairs of one family match, as they should; {near.pairs.height:,} pairs of two families "
        f"match by hash: {confirmed:,} confirmed on pixels, {refuted:,} not (another moment or another face in the "
        f"same scene, or chance)"
    )
    if near.unseen:
        said.append(f"{near.unseen:,} pairs were not compared on pixels; raise --confirm to look at them")
    if near.unreadable:
        said.append(f"{near.unreadable:,} pictures could not be read; `shards verify --deep` tells more")
    if near.different:
        rate = near.false_by_hash / near.different
        bound = f"{rate:.2g}" if near.false_by_hash else f"under {3 / near.different:.1g} with 95 % confidence"
        said.append(
            f"false matches: of {near.different:,} pairs of videos that surely show different people "
            f"{near.false_by_hash:,} match by hash ({bound}), {near.false_confirmed:,} were confirmed on pixels"
        )
    else:
        said.append("false matches: no two videos are known to show different people; their rate cannot be estimated")
    if not confirmed:
        said.append("no shared frames found; shared recordings or people are not excluded")
    said.append("mirrored, cropped or framed copies have other hashes and are not found")
    return said


def examples(audit: Audit) -> Iterator[str]:
    """The first ids of every kind that breaks the audit."""
    failing = audit.failing()
    for (build, other, kind), rows in failing.group_by(["build", "other", "kind"], maintain_order=True):
        where = f"{build}" if other is None else f"between {build} and {other}"
        word = (ONE if rows.height == 1 else MANY)[str(kind)]
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
        yield "--to FILE writes every leak; --allow ID or FILE accepts those that are known and wanted"


def to_json(audit: Audit) -> dict[str, Any]:
    """Everything but the table of ids, which ``--to`` writes; failing ids are in."""
    return {
        "verdict": verdict(audit),
        "broken": audit.broken,
        "builds": [
            {
                "build": one.build.name,
                "protocol": one.build.protocol,
                "problems": list(one.problems),
                "coverage": one.coverage,
                "figures": {column: rows.to_dicts() for column, rows in one.figures.items()},
                "equal_pictures": one.pictures,
            }
            for one in audit.builds
        ],
        "between": [
            {"build": one, "other": other, "shared": rows.to_dicts()} for (one, other), rows in audit.between.items()
        ],
        "leaks": audit.leaks.group_by("build", "other", "column", "kind")
        .agg(pl.len().alias("ids"), pl.col("breaks").sum(), pl.col("allowed").sum())
        .sort("build", "other", "column", "kind")
        .to_dicts(),
        "failing": audit.failing().drop("breaks", "allowed").to_dicts(),
        "near_duplicates": None if audit.near is None else _near_json(audit.near),
    }


def _near_json(near: Near) -> dict[str, Any]:
    return {
        "compared": near.videos,
        "too_short": near.short,
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
