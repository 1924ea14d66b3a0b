"""The law of isolation: what each protocol keeps in one split, and what breaks this in a plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from semblance.manifests.overlap import (
    COLUMNS_AUDITED,
    ESTIMATED,
    KEYS,
    KINDS,
    assigned,
    figures,
    of_recordings,
    shared,
)
from semblance.manifests.records import Finding

LAW: Final = "isolation"
ONE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "family": "family",
        "target": "target",
        "donor": "donor",
        "person": "person",
        "recording": "recording",
        ESTIMATED: "estimated person",
        "method": "held-out method",
    }
)
WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "family": "families",
        "target": "targets",
        "donor": "donors",
        "person": "people",
        "recording": "recordings",
        ESTIMATED: "estimated people",
        "method": "held-out methods",
    }
)
# What each protocol separates, and whether between all three splits (True) or only test from the others (False).
PROMISES: Final[Mapping[str, Mapping[str, bool]]] = MappingProxyType(
    {
        "family": {"family": True},
        "identity": {"family": True, "person": True, "recording": True},
        ESTIMATED: {"family": True, "person": True, ESTIMATED: True},  # a known id is its person's estimate
        "method": {"family": True, "method": False},
        "temporal": {"family": True},
        "official": {"family": True, "person": True, "recording": True},
    }
)
_REPORTED: Final = ("family", "person", "recording")  # reported even if the protocol does not promise them


def promise(protocol: str, against: str = "recording") -> Mapping[str, bool]:
    """Kind -> whether train and val must not share it either; test never shares it with them.

    ``official`` itself promises nothing: what it shares is reported as leaks of the published split, so that
    users know. ``official_clean`` separates test by the kind that ``against`` names.
    """
    return {against: False} if protocol == "official_clean" else PROMISES[protocol]


def promised(plan: pl.DataFrame, protocol: str, against: str = "recording") -> Mapping[str, bool]:
    """``promise`` without ``person`` if the ids of people are names of recordings: those are counted once."""
    twice = ("person",) if of_recordings(plan) and not (protocol == "official_clean" and against == "person") else ()
    return {kind: everywhere for kind, everywhere in promise(protocol, against).items() if kind not in twice}


def unpromised(plan: pl.DataFrame, protocol: str, against: str = "recording") -> tuple[str, ...]:
    """The kinds that a reader may expect to be separated, and that this protocol does not separate.

    People are among them where their ids are names of recordings: a person in several recordings has several.
    """
    kept = promised(plan, protocol, against)
    return tuple(kind for kind in _REPORTED if kind not in kept)


def active_protocol(description: Mapping[str, Any], plan: pl.DataFrame) -> tuple[str, str]:
    """The protocol behind column ``split``, and what ``official_clean`` is clean of.

    From dataset.json (``description``, which may be empty), else from the plan's columns.
    """
    protocol = description.get("split")
    against = description.get("recipe", {}).get("split", {}).get("against") or "recording"
    known = protocol == "official_clean" or protocol in PROMISES
    return str(protocol) if known else protocol_of(plan), against


def protocol_of(plan: pl.DataFrame) -> str:
    """The protocol behind column ``split``, inferred from the columns; the strictest if several match.

    A subset of the official split is ``official_clean``. ``family`` if none matches: any split should at least
    keep an original with its fakes.
    """
    for name in ("identity", ESTIMATED, "family", "method", "temporal", "official"):
        own = pl.col(f"split_{name}").fill_null("unassigned")
        if plan.select((pl.col("split") == own).all() & pl.col(f"split_{name}").is_not_null().any()).item():
            return name
    assigned = plan.filter(pl.col("split") != "unassigned")
    same = assigned.select((pl.col("split") == pl.col("split_official")).fill_null(value=False).all()).item()
    return "official_clean" if assigned.height and same else "family"


def kinds(column: str, protocol: str) -> tuple[str, ...]:
    """What can leak in a protocol's column: methods too if some are held out for test."""
    by_method = column == "split_method" or (column == "split" and protocol == "method")
    return (*KINDS, "method") if by_method else tuple(KINDS)


def breaking(found: pl.DataFrame, promised: Mapping[str, bool]) -> pl.DataFrame:
    """The rows of ``overlap.shared`` that break a promise."""
    everywhere = [kind for kind, all_splits in promised.items() if all_splits]
    from_test = (pl.col("test") > 0) & pl.col("kind").is_in(list(promised))
    return found.filter(pl.col("kind").is_in(everywhere) | from_test)


def isolation(plan: pl.DataFrame, protocol: str, against: str = "recording") -> pl.DataFrame:
    """The ids in more than one part of the active split: the rows of ``overlap.shared`` with column ``breaks``."""
    found = shared(plan, "split", kinds("split", protocol))
    broken = breaking(found, promised(plan, protocol, against)).select(*KEYS, breaks=True)
    rows = found.join(broken, on=KEYS, how="left", maintain_order="left")
    return rows.with_columns(pl.col("breaks").fill_null(value=False))


def findings(plan: pl.DataFrame, protocol: str, against: str = "recording") -> list[Finding]:
    """Law 3 for the active split: what breaks it, and what is shared although the protocol allows it."""
    return judged(isolation(plan, protocol, against), plan, protocol, against)


def judged(rows: pl.DataFrame, plan: pl.DataFrame, protocol: str, against: str = "recording") -> list[Finding]:
    """``findings`` for those ``rows`` of ``isolation`` that are not accepted: one per kind, worst first.

    A finding has as many ``ids`` as its ``what`` counts.
    """
    kept = promised(plan, protocol, against)
    twice = ("person",) if of_recordings(plan) else ()  # counted as recordings
    open_ = [kind for kind in unpromised(plan, protocol, against) if kind not in twice]
    found = []
    for kind in kept:
        ids = tuple(rows.filter((pl.col("kind") == kind) & pl.col("breaks"))["id"].sort())
        where = "more than one of train, val and test" if kept[kind] else "test and in train or val"
        if ids:
            remedy = _remedy(plan, protocol, kind)
            what = f"{counted(len(ids), kind)} in {where} under {protocol}"
            found.append(Finding(level="broken", law=LAW, what=what, remedy=remedy, ids=ids))
    for kind in open_:
        ids = tuple(rows.filter(pl.col("kind") == kind)["id"].sort())
        if ids:
            what = (
                f"NOT promised: {protocol} does not separate {WORDS[kind]}, and {counted(len(ids), kind)} "
                f"{'is' if len(ids) == 1 else 'are'} in more than one of train, val and test"
            )
            found.append(Finding(level="warning", law=LAW, what=what, remedy=_remedy(plan, protocol, kind), ids=ids))
    return found


def counted(count: int, kind: str) -> str:
    """A count with its noun: 1 family, 2 families."""
    return f"{count:,} {(ONE if count == 1 else WORDS)[kind]}"


def _remedy(plan: pl.DataFrame, protocol: str, kind: str) -> str:
    """What to do: another protocol of the plan that separates ``kind``, or else rebuild or report."""
    for name in ("family", "identity", ESTIMATED):
        if name != protocol and kind in PROMISES[name] and plan[f"split_{name}"].null_count() < plan.height:
            return f"Separate them with `shards repack OUT --split {name} --to OUT2`; CARD.md states the cost."
    if protocol in ("official", "official_clean"):
        return "The published split has this leak: report it with every result."
    if kind in PROMISES.get(protocol, {}):
        return "The split was changed after planning: build again into another folder."
    return "No protocol of this build separates them: report it with every result."


def sentences(plan: pl.DataFrame, protocol: str, against: str = "recording") -> list[str]:
    """For the datasheet: the findings, then what is shared under each protocol, the active one first."""
    lines = [f"{finding.level}: {finding.what}" for finding in findings(plan, protocol, against)]
    for column in COLUMNS_AUDITED:
        if column == f"split_{protocol}" or not assigned(plan, column).height:
            continue
        kinds = [
            kind
            for kind in (*_REPORTED, ESTIMATED)
            if not (kind == "person" and of_recordings(plan))
            and not (kind == ESTIMATED and plan["persons_estimated"].null_count() == plan.height)
        ]
        found = figures(plan, column, kinds)
        parts = [
            f"{row['shared']} of {row['known']} {WORDS[row['kind']]}"
            + (
                f" ({row['with_test']} of them in test and another split, in {row['tests_shared']} of {row['tests']} "
                "test videos that name one)"
                if row["shared"]
                else ""
            )
            for row in found.iter_rows(named=True)
        ]
        name = f"active split ({protocol})" if column == "split" else column
        if parts:
            lines.append(f"{name}: in more than one of train, val and test: {', '.join(parts)}")
    return lines
