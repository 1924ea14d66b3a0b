"""From an audit to its record."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from typing import Final

import polars as pl

from semblance.manifests import overlap
from semblance.manifests.records import Finding
from semblance.quality.audit import evidence, record
from semblance.quality.audit import findings as judge
from semblance.quality.audit.losses import losses
from semblance.quality.audit.result import Audit, BuildAudit
from semblance.quality.audit.text import near_sentences, recording_sentences, verdict
from semblance.quality.checks import background, filter_fairness, separability, shares, shortcuts
from semblance.quality.checks.linear import Told
from semblance.quality.checks.separability import Separability
from semblance.quality.duplicates.recordings import Recordings
from semblance.quality.duplicates.search import Near

_JUDGED_BY: Final = ("semblance", "polars", "numpy", "scipy", "scikit-learn", "opencv-python-headless")


def transcribe(audit: Audit) -> record.Record:
    """The audit as a record; counts what it needs beyond the audit from the tables of the builds."""
    return record.Record(
        schema=record.SCHEMA,
        versions={name: metadata.version(name) for name in _JUDGED_BY} | {"python": platform.python_version()},
        settings=_settings(audit),
        verdict=verdict(audit),
        level=judge.level(audit.findings),
        broken=audit.broken,
        builds=[_build(one) for one in audit.builds],
        between=[
            record.Between(
                build=one,
                other=other,
                findings=_judgements(audit.across[one, other]),
                shared=[record.Shared(**row) for row in rows.iter_rows(named=True)],
            )
            for (one, other), rows in audit.between.items()
        ],
        leaks=[record.Leak(**row) for row in audit.leaks.iter_rows(named=True)],
        near_duplicates=None if audit.near is None else _search(audit.near),
        same_recordings=None if audit.recordings is None else _recordings(audit.recordings),
    )


def _settings(audit: Audit) -> record.Settings:
    asked = audit.asked
    return record.Settings(
        plan_only=asked.plan,
        allow=list(asked.allow),
        not_leaks=list(audit.idle),
        attributes=asked.attributes,
        distance=asked.config.distance,
        least_frames=asked.config.least_frames,
        least_share=asked.config.least_share,
        confirm=asked.most,
        shortcut_alarm=shortcuts.ALARM,
        shortcut_families=separability.LEAST_FAMILIES,
        filter_gap=filter_fairness.GAP,
        lost_limit=shares.LIMIT,
        failed_limit=judge.BUDGET,
    )


def _build(one: BuildAudit) -> record.BuildRecord:
    build, checks = one.build, one.checks
    return record.BuildRecord(
        build=build.name,
        dataset=_dataset(one),
        protocol=_protocol(one),
        findings=_judgements(one.findings),
        problems=list(one.problems),
        coverage=[record.Coverage(**row | {"crops": row["crops"] or 0}) for row in one.coverage],
        figures={
            column: [evidence.Figures(**row) for row in rows.iter_rows(named=True)]
            for column, rows in one.figures.items()
        },
        people=_people(one),
        people_estimated=one.estimated,
        copies=_copies(one),
        shortcuts=None if checks is None else [_shortcut(found) for found in checks.comparisons],
        background=None if checks is None else [_background(found) for found in checks.background.comparisons],
        order=None if checks is None else evidence.Order(tar=_told(checks.order.tar), name=_told(checks.order.name)),
        label_noise=None if checks is None else _label_noise(one),
        filters=None if checks is None else [evidence.FilterGroup(**asdict(group)) for group in checks.groups],
        losses=losses(one),
    )


def _judgements(findings: tuple[Finding, ...]) -> list[record.Judgement]:
    return [record.Judgement(**asdict(finding) | {"ids": list(finding.ids)}) for finding in findings]


def _dataset(one: BuildAudit) -> record.Dataset:
    described = one.build.description
    return record.Dataset(
        names=sorted(one.build.plan["dataset"].unique()),
        title=described.get("datasheet", {}).get("title"),
        fingerprint=described.get("fingerprint"),
        synthetic=bool(described.get("synthetic")),
        versions={name: str(version) for name, version in described.get("versions", {}).items()},
    )


def _protocol(one: BuildAudit) -> record.Protocol:
    build = one.build
    notes = build.description.get("protocols", {})
    return record.Protocol(
        name=build.protocol,
        against=build.against if build.protocol == "official_clean" else None,
        promises=[_promise(one, kind) for kind in (*build.promise, *one.promises.open)],
        note=build.description.get("identity_note") or "",
        facts=list(notes.get("facts", {}).get(build.protocol, [])),
        absent=dict(notes.get("absent", {})),
    )


def _promise(one: BuildAudit, kind: str) -> record.Promise:
    figures = one.figures.get("split")
    rows = {} if figures is None else {row["kind"]: row for row in figures.iter_rows(named=True)}
    row = rows.get(kind, {"known": 0, "shared": 0})
    promised = kind in one.build.promise
    return record.Promise(
        kind=kind,
        promised=promised,
        splits=None if not promised else "all" if one.build.promise[kind] else "test",
        known=row["known"],
        shared=row["shared"],
    )


def _people(one: BuildAudit) -> evidence.People:
    plan, figures = one.build.plan, one.figures.get("split")
    rows = [] if figures is None else figures.filter(pl.col("kind") == "person").to_dicts()
    count = rows[0] if rows else {}
    named = plan["target_id"].null_count() < plan.height
    videos = overlap.assigned(plan, "split").height
    unknown = count.get("unknown", videos)
    return evidence.People(
        basis="recording" if overlap.of_recordings(plan) else "person" if named else None,
        known=count.get("known", 0),
        shared=count.get("shared", 0),
        videos_that_name_one=videos - unknown,
        videos_that_name_none=unknown,
        test_videos=count.get("tests", 0),
        test_videos_shared=count.get("tests_shared", 0),
    )


def _copies(one: BuildAudit) -> evidence.Copies | None:
    if one.unsearched is None or one.pictures is None:
        return None
    return evidence.Copies(
        videos=one.build.plan["fault"].null_count(),
        not_searched=[evidence.Unsearched(**row) for row in one.unsearched.iter_rows(named=True)],
        not_searched_share=one.blind or 0.0,
        equal_pictures={
            column: evidence.EqualPictures(pictures=pictures, in_several=several)
            for column, (pictures, several) in one.pictures.items()
        },
        pairs=[evidence.CopyPair(**row) for row in one.copies.iter_rows(named=True)],
        not_compared=one.not_compared,
    )


def _shortcut(found: shortcuts.Comparison) -> evidence.Shortcut:
    return evidence.Shortcut(
        method=found.method,
        compression=found.compression,
        acquisition=_separability(found.acquisition),
        face=_separability(found.face),
    )


def _separability(figure: shortcuts.Figure) -> evidence.Separability:
    found = figure.found
    return evidence.Separability(
        verdict=figure.verdict,
        auc=found.auc,
        low=found.low,
        high=found.high,
        reals=found.reals,
        fakes=found.fakes,
        families=found.families,
        used=list(found.used),
        unused=list(found.unused),
        giveaways=[evidence.Separator(**asdict(one)) for one in found.giveaways],
        constant=list(found.constant),
    )


def _background(found: background.Comparison) -> evidence.Background:
    return evidence.Background(
        method=found.method,
        compression=found.compression,
        verdict=found.verdict,
        paired=found.paired,
        without_face=_told(found.without),
        whole_crop=_told(found.whole),
    )


def _told(found: Told | Separability) -> evidence.Told:
    return evidence.Told(
        auc=found.auc, low=found.low, high=found.high, reals=found.reals, fakes=found.fakes, families=found.families
    )


def _label_noise(one: BuildAudit) -> evidence.LabelNoise | None:
    if one.checks is None:
        return None
    noise = one.checks.noise
    return evidence.LabelNoise(
        flags=[evidence.Flag(**row) for row in noise.rows],
        pairs=[evidence.EqualPair(**row) for row in noise.pairs.iter_rows(named=True)],
        compared_fakes=noise.fakes,
        not_compared=dict(noise.refused),
        without_crops=noise.bare,
        doubtful=list(one.checks.doubtful),
        unreadable=one.checks.unreadable or None,
    )


def _search(near: Near) -> record.Search:
    return record.Search(
        sentences=near_sentences(near),
        compared={str(seen): count for seen, count in near.videos.items()},
        too_short=near.short,
        no_hash=near.bare,
        by_rejected_faces=near.rejected,
        flat=near.flat,
        common=near.common,
        thinned=near.thinned,
        one_family=near.same_family,
        by_hash=near.pairs.height,
        confirmed=int(near.pairs["confirmed"].sum() or 0),
        not_looked_at=near.unseen,
        unreadable=near.unreadable,
        different_people=near.different,
        false_by_hash=near.false_by_hash,
        false_confirmed=near.false_confirmed,
    )


def _recordings(found: Recordings) -> record.RecordingSearch:
    return record.RecordingSearch(
        sentences=recording_sentences(found),
        compared=found.videos,
        no_hash=found.bare,
        no_hash_in_build=found.unhashed,
        flat=found.flat,
        common=found.common,
        by_hash=found.pairs.height + found.refuted,
        confirmed=int(found.pairs["confirmed"].sum() or 0),
        not_confirmed=found.refuted,
        no_crops=found.unstored,
        not_looked_at=found.unseen,
        unreadable=found.unreadable,
        different_people=found.different,
        false_by_hash=found.false_by_hash,
        false_confirmed=found.false_confirmed,
    )
