"""``quality report``: a self-contained HTML page on a build that opens with its verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import build_files, scan, storage
from semblance.manifests.config import flatten
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Finding
from semblance.quality.audit.findings import level, ordered
from semblance.quality.audit.result import Audit, BuildAudit
from semblance.quality.audit.run import audit
from semblance.quality.audit.text import headline, named
from semblance.quality.checks import drift, filter_fairness, label_noise, shares
from semblance.quality.checks.drift import Shift
from semblance.quality.duplicates import clusters as copies
from semblance.quality.report import charts, doubtful, gallery, statistics
from semblance.quality.report.environment import environment

PAGE: Final = "report/index.html"
JSON: Final = "report/report.json"
SHARED: Final = "report/shared.html"
MOST: Final = 15_000_000  # bytes of a page
REDISTRIBUTION: Final = (
    "It shows faces of identifiable people; most dataset terms prohibit redistribution (--share leaves them out)."
)
_SUSPECTS: Final = 12
_NAMED: Final = 3  # ids of a finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The address of the page, its size and its findings."""

    url: str
    bytes: int
    findings: tuple[Finding, ...]


def write(out: str, *, compare: str | None = None, share: bool = False, attributes: str | None = None) -> Written:
    """Write the page and its figures as JSON below ``out``; with ``share`` the page has no pictures, paths or ids.

    Raises SemblanceError if ``out`` (or ``compare``) is not a build or cannot be written.
    """
    scan(out, "videos")  # fail before any work
    description = build_files.description(out)
    other = None if compare is None or compare.rstrip("/") == out.rstrip("/") else compare
    judged = audit([out] if other is None else [out, other], attributes=attributes)
    page = render(out, description, judged, compare=compare, share=share).encode()
    if len(page) > MOST:
        raise SemblanceError(f"The page of {out} would have {len(page):,} bytes; please report this as a defect.")
    url = storage.join(out, SHARED if share else PAGE)
    storage.write_bytes(url, page)
    if not share:
        figures = json.dumps(to_json(judged), indent=1, default=str).encode()
        storage.write_bytes(storage.join(out, JSON), figures + b"\n")
    return Written(url=url, bytes=len(page), findings=_findings(judged))


def _findings(judged: Audit) -> tuple[Finding, ...]:
    """The findings on the build, and those between it and the build that it is compared with."""
    between = [found for several in judged.across.values() for found in several]
    return ordered([*judged.builds[0].findings, *between])


def to_json(judged: Audit) -> dict[str, Any]:
    """The verdict, the findings and their evidence as JSON."""
    one, found = judged.builds[0], _findings(judged)
    return {
        "verdict": headline(found),
        "level": level(found),
        "findings": [asdict(finding) for finding in found],
        **(one.checks.to_json() if one.checks is not None else {}),
        "lost": None if one.shares is None else one.shares.to_json(),
        "copies": one.copies.to_dicts(),
    }


def render(out: str, description: Mapping[str, Any], judged: Audit, *, compare: str | None, share: bool) -> str:
    """The page as HTML."""
    one, found = judged.builds[0], _findings(judged)
    gates = description.get("recipe", {}).get("gates", {})
    spread = [shape for shape in statistics.distributions(out, gates) if sum(shape.real) + sum(shape.fake)]
    families = statistics.families(out)
    clusters = copies.clusters(one.copies.filter(kind="near_duplicate"))
    sheets = {} if share else _sheets(out, one, clusters)
    return (
        environment()
        .get_template("report.html")
        .render(
            share=share,
            title=_title(description),
            dataset=description.get("dataset", "a dataset"),
            place=None if share else out,
            headline=headline(found),
            level=level(found),
            alarms=[(finding, named(finding, _NAMED)) for finding in found],
            checks=one.checks,
            shares=one.shares,
            label_names=shares.NAMES,
            ruled=any(row.rules for row in one.shares.rows) if one.shares is not None else False,
            persons=any(row.persons for row in one.shares.rows) if one.shares is not None else False,
            copied=one.copies.filter(kind="near_duplicate"),
            recorded=one.copies.filter(kind="same_recording"),
            crossing=_crossing(one),
            totals=statistics.totals(out),
            counts=statistics.counts(out),
            funnel=statistics.funnel(out),
            distributions=[(shape, charts.distribution(shape)) for shape in spread],
            bins=[statistics.to_json(shape) for shape in spread],
            families=families,
            split_drawing=charts.split(families, names=not share),
            sheets=sheets,
            failures=statistics.failures(out),
            findings=statistics.findings(out),
            stages=statistics.stages(out),
            recipe=_recipe(description, share=share),
            versions=description.get("versions", {}),
            fingerprint=description.get("fingerprint"),
            protocol=description.get("split"),
            ita_note=filter_fairness.ITA_NOTE,
            shifts=None if compare is None else drift.drift(out, compare),
            clusters=len(clusters),
            compared=None
            if compare is None
            else _compared(out, compare, next(iter(judged.copies.values()), None), share=share),
            flagged=_flagged(out),
        )
    )


def _crossing(one: BuildAudit) -> dict[str, tuple[int, int]]:
    """Known people and recordings of the active split: kind -> (how many, how many in several splits)."""
    figures = one.figures.get("split")
    rows = [] if figures is None else figures.filter(pl.col("kind").is_in(["person", "recording"])).to_dicts()
    return {row["kind"]: (row["known"], row["shared"]) for row in rows if row["known"]}


def _title(description: Mapping[str, Any]) -> str:
    sheet = description.get("datasheet", {})
    name = sheet.get("title") or description.get("dataset") or "Build"
    return f"SYNTHETIC, in the layout of: {name}" if description.get("synthetic") else str(name)


def _recipe(description: Mapping[str, Any], *, share: bool) -> list[tuple[str, str]]:
    recipe = dict(description.get("recipe", {}))
    if share:
        recipe.pop("source", None)  # names files
    return [(key, json.dumps(value)) for key, value in flatten(recipe) if not isinstance(value, dict)]


def _flagged(out: str) -> list[dict[str, Any]]:
    counted = scan(out, "flags").group_by("flag", "by").len().collect()
    return counted.sort("flag", "by").to_dicts()


def _compared(out: str, other: str, copied: pl.DataFrame | None, *, share: bool) -> dict[str, Any]:
    name = build_files.description(other).get("dataset", "the other build") if share else other
    found = [] if copied is None else copies.bipartite(copied)
    ours, theirs = (gallery.Gallery(one, left=gallery.BUDGET // 20) for one in (out, other))
    return {
        "name": name,
        "same": out.rstrip("/") == other.rstrip("/"),
        "rows": list(zip(*(statistics.totals(one).items() for one in (out, other)), strict=True)),
        "copied": sum(cluster.height for cluster in found),
        "clusters": len(found),
        "sheets": [] if share else gallery.pairs(ours, theirs, found[:_SUSPECTS]),
    }


def _sheets(out: str, one: BuildAudit, clusters: list[list[str]]) -> dict[str, list[gallery.Sheet]]:
    """The picture sheets; suspects come first, so that the budget never drops them."""
    album = gallery.Gallery(out)
    found: dict[str, list[gallery.Sheet]] = {"labels": []}
    if one.checks is not None:
        noise = one.checks.noise
        equal = noise.pairs.head(_SUSPECTS)
        found["labels"] += gallery.equal(album, equal.select("real", "fake").rows())
        unchanged = {row["video_id"] for row in noise.rows if row["flag"] == label_noise.UNCHANGED}
        names = sorted(unchanged - {*equal["fake"]})
        found["labels"] += gallery.changes(album, names[:_SUSPECTS], label_noise.UNCHANGED)
    found["labels"] += doubtful.sheets(album)
    across = copies.across(one.copies)
    crossing = {*across["video"], *across["other"]}
    recorded = one.copies.filter(kind="same_recording")
    inside = recorded.join(across, on=["video", "other"], how="anti", maintain_order="left")
    first = pl.concat([across.filter(kind="same_recording"), inside]).head(_SUSPECTS)
    found["recordings"] = gallery.recordings(album, first)
    crossing_first = sorted(clusters, key=lambda names: crossing.isdisjoint(names))
    found["pairs"] = gallery.clusters(album, crossing_first[:_SUSPECTS])
    found["worst"] = gallery.worst(album)
    found["kept"] = gallery.kept(album)
    found["rejected"] = gallery.rejected(album)
    return {name: [sheet for sheet in sheets if sheet.pictures] for name, sheets in found.items()}


def write_drift(out: str, other: str, found: list[Shift], url: str) -> None:
    """Write the drift between two builds as an HTML page to ``url``."""
    text = environment().get_template("drift.html").render(out=out, other=other, shifts=found)
    storage.write_bytes(url, text.encode())
