"""The first screen: what is wrong with a build, why that matters, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import polars as pl

from semblance.manifests import scan
from semblance.manifests.records import FAILURES, TRAIN_VAL_TEST
from semblance.quality.checks import filter_fairness, label_noise, shortcuts
from semblance.quality.checks.filter_fairness import Group
from semblance.quality.checks.shortcuts import Comparison
from semblance.quality.duplicates import clusters
from semblance.shards.verify import verify

Level = Literal["wrong", "warning", "note"]
BUDGET: Final = 0.01  # of the planned videos may fail
_ISOLATING: Final = ("family", "identity", "method", "temporal")
_NAMED: Final = 3  # examples in a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence for the first screen; ``private`` are ids, which a page to share leaves out."""

    level: Level
    what: str
    remedy: str
    private: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All that was looked at: the alarms, worst first, and what they rest on."""

    alarms: tuple[Finding, ...]
    comparisons: list[Comparison]
    groups: list[Group]
    copied: pl.DataFrame
    noise: label_noise.Judged
    between: pl.DataFrame | None = None  # copied clips of this build and another

    @property
    def verdict(self) -> str:
        """The headline."""
        wrong, warned = (sum(one.level == level for one in self.alarms) for level in ("wrong", "warning"))
        if not wrong and not warned:
            return "Nothing wrong was found"
        parts = [f"{wrong} wrong"] if wrong else []
        parts += [f"{warned} warning{'s' if warned > 1 else ''}"] if warned else []
        return f"{' and '.join(parts)}: read this before you train"


def judge(
    out: str, description: Mapping[str, Any], attributes: str | None = None, compare: str | None = None
) -> Judgement:
    """Look at everything that tables and few pictures tell, and for clips that the build ``compare`` has too.

    Raises SemblanceError where ``out`` (or ``compare``) holds no build.
    """
    comparisons = shortcuts.audit(out)
    groups = filter_fairness.measure(out, attributes)
    copied = clusters.every(out)
    noise = label_noise.judge(out)
    between = None if compare is None else clusters.between(out, compare)
    found = [
        *_incomplete(description),
        *_laws(out, description),
        *_sides(out, description),
        *_copied(copied),
        *_between(between),
        *_twice(copied),
        *_labels(noise, _written(out)),
        *(_split_sentence(one) for one in shortcuts.warnings(comparisons)),
        *(_split_sentence(one) for one in filter_fairness.warnings(groups)),
        *_failures(out),
        *_empty(out),
        *_unsure(comparisons),
    ]
    order = {"wrong": 0, "warning": 1, "note": 2}
    found.sort(key=lambda one: order[one.level])
    return Judgement(
        alarms=tuple(found), comparisons=comparisons, groups=groups, copied=copied, noise=noise, between=between
    )


def _split_sentence(sentence: str) -> Finding:
    what, _, remedy = sentence.rstrip(".").partition("; ")
    return Finding(level="warning", what=f"{what}.", remedy=f"{remedy[:1].upper()}{remedy[1:]}.")


def _examples(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _incomplete(description: Mapping[str, Any]) -> list[Finding]:
    if not description.get("complete"):
        remedy = "Run the same `ingest build` again; it goes on where it stopped."
        return [Finding(level="wrong", what="The build is not finished (no complete dataset.json).", remedy=remedy)]
    if description.get("synthetic"):
        what = "SYNTHETIC: every person and video here was invented by `ingest demo`."
        return [
            Finding(level="note", what=what, remedy="No claim about the dataset whose layout it has can rest on it.")
        ]
    return []


def _laws(out: str, description: Mapping[str, Any]) -> list[Finding]:
    """What `shards verify` says of a finished build; isolation is told apart."""
    problems = verify(out, deep=False, isolation=False).problems if description.get("complete") else []
    if not problems:
        return []
    return [
        Finding(
            level="wrong",
            what=f"Broken laws: {len(problems):,} {_many(len(problems), 'fault')} in receipts, rows or shards.",
            remedy="Run the same `ingest build` again: it mends its shards. `shards verify OUT` names every fault.",
            private=_examples([problem.rstrip(".") for problem in problems]),
        )
    ]


_STAND: Final = {"families": ("family stands", "families stand"), "people": ("person stands", "people stand")}


def _sides(out: str, description: Mapping[str, Any]) -> list[Finding]:
    """Families and people on two of train, val and test: people are a leak where the protocol keeps them apart."""
    protocol = str(description.get("split"))
    plan = scan(out, "plan").filter(pl.col("split").is_in(TRAIN_VAL_TEST))
    asked = {"families": ["family_id"], "people": ["target_id", "donor_id"]}
    found = []
    for kind, columns in asked.items():
        ids = pl.concat([plan.select("split", name=pl.col(column)) for column in columns]).drop_nulls("name")
        torn = ids.group_by("name").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).collect()
        if torn.height and kind == "people" and not protocol.startswith("identity"):
            found.append(
                Finding(
                    level="note",
                    what=f"{torn.height:,} {_STAND[kind][torn.height > 1]} on two of train, val and test: {protocol} "
                    "does not keep people apart, so a model may know some of them.",
                    remedy="`shards repack OUT --split identity --to OUT2` keeps them apart; CARD.md tells the cost.",
                    private=_examples(sorted(torn["name"])),
                )
            )
        elif torn.height:
            promised = protocol in _ISOLATING
            found.append(
                Finding(
                    level="wrong" if promised else "warning",
                    what=f"Leak: {torn.height:,} {_STAND[kind][torn.height > 1]} on two of train, val and test under "
                    f"{protocol}.",
                    remedy="Lay out another split with `shards repack OUT --split family --to OUT2`."
                    if kind == "families"
                    else "Build again into another --out; `quality audit OUT` names every one.",
                    private=_examples(sorted(torn["name"])),
                )
            )
    return found


def _copied(copied: pl.DataFrame) -> list[Finding]:
    across = clusters.across(copied)
    if across.is_empty():
        return []
    names = [f"{row['video']} ({row['split']}) = {row['other']} ({row['other_split']})" for row in across.to_dicts()]
    return [
        Finding(
            level="wrong",
            what=f"Copied clips: {across.height:,} {_many(across.height, 'pair')} of videos of two families show the "
            "same frames on two sides.",
            remedy="Give both one family in the source's table, or leave out the copies of what is tested: `quality "
            "audit OUT --keep keep.parquet`, then `shards repack OUT --split PROTOCOL --keep keep.parquet --to OUT2`.",
            private=_examples(names),
        )
    ]


def _twice(copied: pl.DataFrame) -> list[Finding]:
    inside = copied.join(clusters.across(copied), on=["video", "other"], how="anti")
    if inside.is_empty():
        return []
    return [
        Finding(
            level="note",
            what=f"{inside.height:,} {_many(inside.height, 'pair')} of videos of two families on one side show the "
            "same frames: counted twice, or two names of one clip.",
            remedy="",
            private=_examples([f"{row['video']} = {row['other']}" for row in inside.head(_NAMED).to_dicts()]),
        )
    ]


def _between(copied: pl.DataFrame | None) -> list[Finding]:
    if copied is None or copied.is_empty():
        return []
    here = copied["video"].n_unique()
    return [
        Finding(
            level="warning",
            what=f"Copied clips: {here:,} {_many(here, 'video')} of this build {'show' if here > 1 else 'shows'} the "
            "same frames as videos of the build that it is compared with.",
            remedy="A model trained on one and tested on the other knows them: `quality audit OUT OUT2 --to pairs.csv` "
            "names them all.",
            private=_examples([f"{row['video']} = {row['other']}" for row in copied.head(_NAMED).to_dicts()]),
        )
    ]


def _written(out: str) -> set[tuple[str, str]]:
    """The flags that stand in manifests/flags."""
    return set(scan(out, "flags").select("video_id", "flag").collect().iter_rows())


def _labels(noise: label_noise.Judged, written: set[tuple[str, str]]) -> list[Finding]:
    by_flag = {flag: [row["video_id"] for row in noise.rows if row["flag"] == flag] for flag in label_noise.FLAGS}
    equal = by_flag[label_noise.EQUALS_REAL]
    partner = {row["fake"]: row["real"] for row in noise.pairs.iter_rows(named=True)}
    partner |= {row["real"]: row["fake"] for row in noise.pairs.iter_rows(named=True)}
    faint = [name for name in by_flag[label_noise.UNCHANGED] if name not in equal]
    found = []
    said: tuple[tuple[Level, list[str], str, str, str], ...] = (
        ("wrong", equal, "fake", "has", "the pictures of a real video: nothing was forged, or a label is wrong."),
        (
            "wrong",
            by_flag[label_noise.EQUALS_FAKE],
            "real video",
            "has",
            "the pictures of a fake of another family: one label is wrong.",
        ),
        (
            "note",
            faint,
            "fake",
            "shows",
            "no altered face (no track's median change_peak exceeds the limit): a forgery that is too faint after "
            "compression, of sound alone, or none.",
        ),
    )
    for level, names, kind, has, what in said:
        if names:
            verb = has if len(names) == 1 else {"has": "have", "shows": "show"}[has]
            found.append(
                Finding(
                    level=level,
                    what=f"Labels in doubt: {len(names):,} {_many(len(names), kind)} {verb} {what}",
                    remedy="They stand in manifests/flags: a loader can leave them out by their flag."
                    if written.issuperset((row["video_id"], row["flag"]) for row in noise.rows)
                    else "`quality flag OUT` writes them to manifests/flags, which `manifests.scan` joins.",
                    private=_examples([f"{name} = {partner[name]}" if name in partner else name for name in names]),
                )
            )
    return found


def _many(count: int, one: str) -> str:
    return one if count == 1 else f"{one}s"


def _failures(out: str) -> list[Finding]:
    counted = scan(out, "videos").select(all=pl.len(), failed=pl.col("status").is_in(list(FAILURES)).sum()).collect()
    total, failed = counted.row(0)
    if not failed:
        return []
    over = failed > BUDGET * total
    return [
        Finding(
            level="wrong" if over else "note",
            what=f"{failed:,} of {total:,} videos failed ({failed / total:.1%}; the budget is {BUDGET:.0%}).",
            remedy="See the failures by cause below; mend the files and run the build again." if over else "",
        )
    ]


def _empty(out: str) -> list[Finding]:
    sided = scan(out, "videos").filter(pl.col("split").is_in(TRAIN_VAL_TEST))
    counted = sided.group_by("split", "label", "method", "compression").agg(
        videos=pl.len(), used=(pl.col("crops_kept") > 0).sum()
    )
    rows = counted.collect()
    bare, thin = [], []
    for split in TRAIN_VAL_TEST:
        own = rows.filter(split=split)
        used = own.filter(pl.col("used") > 0)
        lacks = [kind for label, kind in ((0, "reals"), (1, "fakes")) if used.filter(label=label).is_empty()]
        if used.is_empty():
            why = f" (none of its {own['videos'].sum():,} videos gave a crop)" if own.height else ""
            bare.append(f"{split} is empty{why}")
        elif lacks:
            bare.append(f"{split} has no {lacks[0]}")
        else:
            for column in ("compression", "method"):
                gone = own.group_by(column).agg(pl.col("videos", "used").sum()).filter(pl.col("used") == 0)
                thin += [
                    f"{split} has no crop of {name} ({n:,} videos)" for name, n, _ in gone.sort(column).iter_rows()
                ]
    remedy = "Change split.fractions, loosen the gates, or build more of the dataset."
    found = [("A side is one-sided", bare), ("The gates emptied part of a side", thin)]
    return [Finding(level="warning", what=f"{what}: {_listed(rest)}.", remedy=remedy) for what, rest in found if rest]


def _listed(sentences: list[str]) -> str:
    more = f", and {len(sentences) - 2 * _NAMED} more" if len(sentences) > 2 * _NAMED else ""
    return ", ".join(sentences[: 2 * _NAMED]) + more


def _unsure(comparisons: list[Comparison]) -> list[Finding]:
    """That nothing was found means little where little could be looked at."""
    whole = comparisons[0].acquisition if comparisons else None
    if whole is None or whole.verdict not in ("too few to tell", "nothing known"):
        return []
    what = (
        f"Shortcuts: too few to tell ({whole.found.families} families with crops; it takes 20)."
        if whole.verdict == "too few to tell"
        else "Shortcuts: nothing is known about how the videos were acquired, so nothing was tried."
    )
    found = [Finding(level="note", what=what, remedy="")]
    if whole.found.constant:
        told = "; ".join(whole.found.constant[:_NAMED])
        what = f"One value in every real and another in every fake of {whole.found.families} families: {told}."
        found.append(
            Finding(level="warning", what=what, remedy=f"{shortcuts.REMEDY[0].upper()}{shortcuts.REMEDY[1:]}.")
        )
    return found


def to_json(judgement: Judgement) -> dict[str, Any]:
    """The first screen and what it rests on, for machines."""
    return {
        "verdict": judgement.verdict,
        "alarms": [asdict(one) for one in judgement.alarms],
        "shortcuts": shortcuts.to_json(judgement.comparisons),
        "fairness": filter_fairness.to_json(judgement.groups),
        "copies": judgement.copied.to_dicts(),
        "label_noise": list(judgement.noise.rows),
    }
