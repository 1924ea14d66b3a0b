"""Findings from the dataset checks: shortcuts, unequal filters and doubtful labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Finding, Level
from semblance.quality.checks import background, doubtful, filter_fairness, label_noise, order, separability, shortcuts
from semblance.quality.checks.background import Background
from semblance.quality.checks.filter_fairness import Group
from semblance.quality.checks.order import Order
from semblance.quality.checks.shortcuts import Comparison

_NAMED: Final = 3  # examples in a sentence
_EQUAL: Final = {"real": pl.String, "fake": pl.String, "same_family": pl.Boolean, "share": pl.Float64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The measurements of the checks on one build."""

    comparisons: list[Comparison]
    groups: list[Group]
    noise: label_noise.Judged
    background: Background
    order: Order
    flagged: frozenset[tuple[str, str]]  # video_id and flag of manifests/flags
    doubtful: tuple[str, ...]  # videos on the list that `quality flag` ranked, the most doubtful first
    unreadable: str = ""  # why labels could not be compared

    def findings(self) -> Iterator[Finding]:
        """The findings on these measurements."""
        if self.unreadable:
            what = "labels were not compared, because a stored picture cannot be read"
            yield Finding(level="warning", law="labels", what=what, ids=(self.unreadable,))
        yield from _labels(self.noise, self.flagged)
        if self.doubtful:
            what = f"labels in doubt: the list of `quality flag` names {_counted(len(self.doubtful), 'video')}"
            yield Finding(level="note", law="labels", what=what, ids=self.doubtful)
        yield from (_of_sentence("shortcuts", one) for one in shortcuts.warnings(self.comparisons))
        yield from (_of_sentence("shortcuts", one) for one in background.warnings(self.background.comparisons))
        yield from self.order.findings()
        yield from (_of_sentence("filters", one) for one in filter_fairness.warnings(self.groups))
        yield from _undecided(self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """The measurements as JSON."""
        return {
            "shortcuts": shortcuts.to_json(self.comparisons),
            "background": background.to_json(self.background),
            "order": self.order.to_json(),
            "fairness": filter_fairness.to_json(self.groups),
            "label_noise": list(self.noise.rows),
        }


def measure(out: str, attributes: str | None = None) -> Checks:
    """Run the checks of a build; ``attributes``: a table with video_id and one column per attribute.

    Raises SemblanceError if ``out`` is not a build or ``attributes`` cannot be read.
    """
    separability.one_thread()
    unreadable = ""
    try:
        noise = label_noise.judge(out)
    except (OSError, SemblanceError) as error:  # the rest of a damaged build is still checked
        noise = label_noise.Judged(rows=(), fakes=0, refused={}, bare=0, compared=0, pairs=pl.DataFrame(schema=_EQUAL))
        unreadable = str(error)
    flags = scan(out, "flags").collect().sort("value", "video_id", descending=[True, False], nulls_last=True)
    return Checks(
        comparisons=shortcuts.audit(out),
        groups=filter_fairness.measure(out, attributes),
        noise=noise,
        background=background.audit(out),
        order=order.measure(out),
        flagged=frozenset(flags.select("video_id", "flag").iter_rows()),
        doubtful=tuple(flags.filter(pl.col("flag") == doubtful.FLAG)["video_id"]),
        unreadable=unreadable,
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _of_sentence(law: str, sentence: str) -> Finding:
    what, _, remedy = sentence.rstrip(".").partition("; ")
    return Finding(level="warning", law=law, what=what, remedy=f"{remedy[:1].upper()}{remedy[1:]}.")


def _labels(noise: label_noise.Judged, flagged: frozenset[tuple[str, str]]) -> Iterator[Finding]:
    by_flag = {flag: [row["video_id"] for row in noise.rows if row["flag"] == flag] for flag in label_noise.FLAGS}
    equal = by_flag[label_noise.EQUALS_REAL]
    partner = {row["fake"]: row["real"] for row in noise.pairs.iter_rows(named=True)}
    partner |= {row["real"]: row["fake"] for row in noise.pairs.iter_rows(named=True)}
    kinds: tuple[tuple[Level, list[str], str, str], ...] = (
        (
            "warning",
            equal,
            "{} fake{} with the pictures of a real video",
            "nothing was forged, or a label is wrong",
        ),
        (
            "warning",
            by_flag[label_noise.EQUALS_FAKE],
            "{} real video{} with the pictures of a fake of another family",
            "one label is wrong",
        ),
        (
            "note",
            [name for name in by_flag[label_noise.UNCHANGED] if name not in equal],
            "{} fake{} without an altered face (of all faces seen, no person's median change_peak exceeds the limit)",
            "too faint after compression, a forgery of sound only, or none at all",
        ),
    )
    written = flagged.issuperset((row["video_id"], row["flag"]) for row in noise.rows)
    for level, names, what, why in kinds:
        if names:
            yield Finding(
                level=level,
                law="labels",
                what=f"labels in doubt: {what.format(f'{len(names):,}', '' if len(names) == 1 else 's')}: {why}",
                remedy="They are flagged in manifests/flags, so a loader can exclude them."
                if written
                else "Run `quality flag OUT` to write them to manifests/flags, which `manifests.scan` joins.",
                ids=tuple(f"{name} = {partner[name]}" if name in partner else name for name in names),
            )


def _undecided(comparisons: list[Comparison]) -> Iterator[Finding]:
    """Notes that finding no shortcut means little if little could be compared."""
    whole = comparisons[0].acquisition if comparisons else None
    if whole is None or whole.verdict not in ("too few to tell", "nothing known"):
        return
    least, families = separability.LEAST_FAMILIES, whole.found.families
    what = (
        f"shortcuts: too few families to test ({families} with kept crops, at least {least} needed)"
        if whole.verdict == "too few to tell"
        else "shortcuts: not tested, because nothing is known about how the videos were acquired"
    )
    yield Finding(level="note", law="shortcuts", what=what)
    if whole.found.constant:
        named = "; ".join(whole.found.constant[:_NAMED])
        yield Finding(
            level="warning",
            law="shortcuts",
            what=f"one value in every real and another in every fake of {families} families: {named}",
            remedy=f"{shortcuts.REMEDY[0].upper()}{shortcuts.REMEDY[1:]}.",
        )
