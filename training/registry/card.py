"""The model card of a package (Mitchell et al. 2019), made of what is known; what was not measured is said to be so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from semblance.training.evaluation.record import Record
from semblance.training.evaluation.record_parts import Figure, Row
from semblance.training.guard.seen import LEARNED
from semblance.training.registry.contents import Contents

FILE: Final = "CARD.md"
NOT_EVALUATED: Final = "not evaluated"
_HASH: Final = 12  # characters shown of a fingerprint
_METRICS: Final = ("auc", "balanced_accuracy", "eer", "ece")
_INTENDED: Final = (
    "Helps people who look into a video: it says how likely faces in it were manipulated by methods like those that it "
    "was trained on.",
    "A person decides. The probability is one hint beside source, context and other evidence.",
)
_UNINTENDED: Final = (
    "As proof, alone, in a decision about a person: dismissal, prosecution, a ban.",
    "To say who is shown, or whether sound, text, scene or date are genuine.",
    "On crops that were found and cut otherwise than the training data.",
)


def make(contents: Contents, record: Record | None) -> str:
    """The card as Markdown. ``record``: the evaluation of this very run."""
    parts: Sequence[tuple[str, Iterator[str]]] = (
        ("What it is", _about(contents)),
        ("Intended use", _list(_INTENDED)),
        ("Not intended", _list(_UNINTENDED)),
        ("Training data", _data(contents)),
        ("Figures", _figures(contents, record)),
        ("Under other conditions and attacks", _robust(contents, record)),
        ("Calibration", _calibration(contents, record)),
        ("By group", _groups(contents, record)),
        ("Limits", _limits(contents, record)),
        ("Weights and licences", _licences(contents)),
        ("Where it comes from", _lineage(contents)),
    )
    lines = [f"# {_md(contents.model)} {contents.version}", ""]
    for title, body in parts:
        lines += [f"## {title}", "", *body, ""]
    return "\n".join(lines).rstrip() + "\n"


def _about(contents: Contents) -> Iterator[str]:
    count = len(contents.members)
    kind = f"An ensemble of {count} models" if count > 1 else "One model"
    yield f"{kind}, packaged from the run `{_md(contents.run)}` on {contents.created[:10]}. It scores face crops:"
    yield f"the logit of class 1. Classes: 0 is {contents.labels[0]}, 1 is {contents.labels[1]}."
    yield ""
    yield from _table(
        ("model", "weight", "kind", "input", "mirrored", "epoch", "recipe"),
        (
            (
                one.name,
                f"{one.weight:.3f}",
                str(one.recipe["model"].get("arch") or one.recipe["model"]["kind"]),
                f"{one.size} px" + (f", clips of {one.clip}" if one.clip > 1 else ""),
                "yes" if one.mirror else "no",
                str(one.epoch + 1),
                f"{one.recipe['name']} ({one.recipe_fingerprint[:_HASH]})",
            )
            for one in contents.members
        ),
    )


def _data(contents: Contents) -> Iterator[str]:
    rows = [
        (
            str(one.get("dataset", "unknown")),
            str(one["role"]),
            str(one["fingerprint"])[:_HASH],
            str(one.get("split_column") or "unknown"),
            _counts(one.get("counts")),
            ", ".join(one.get("methods") or ()) or "not named",
        )
        for one in contents.datasets
    ]
    yield from _table(("dataset", "role", "fingerprint", "split", "counts", "methods"), rows)
    yield ""
    yield "Role `train`: learned by this run; `weights`: by a run that its weights are from; `other`: only looked at."


def _counts(counts: object) -> str:
    if not isinstance(counts, dict):
        return "not recorded"
    return "; ".join(f"{split}: {value}" for split, value in counts.items()) or "not recorded"


def _figures(contents: Contents, record: Record | None) -> Iterator[str]:
    if record is None:
        yield f"{NOT_EVALUATED.capitalize()}: no evaluation came with the package."
        return
    yield f"Split `{record.split}` of {_builds(record)}, {record.date}. In brackets: the middle 95 % of {record.draws}"
    yield "draws of whole groups; none where a class has fewer than ten groups."
    yield ""
    titles = {one.name: one.title for one in record.metrics}
    names = [name for name in _METRICS if name in titles]
    rows = (
        (row.level, *_part(row), row.mark, f"{row.reals} / {row.fakes}", *(_figure(row.figures.get(n)) for n in names))
        for row in _rows(contents, record)
    )
    head = ("level", "dataset", "compression", "method", "data", "real / fake")
    yield from _table((*head, *(titles[name] for name in names)), rows)


def _robust(contents: Contents, record: Record | None) -> Iterator[str]:
    changes = [one for one in record.changes if one.model == contents.run] if record else []
    attacks = [one for one in record.attacks if one.model == contents.run] if record else []
    if changes:
        rows = ((one.name, str(one.videos), *map(_figure, (one.before, one.after, one.change))) for one in changes)
        yield from _table(("condition", "videos", "AUC before", "after", "change"), rows)
    else:
        yield f"Other conditions: {NOT_EVALUATED}."
    yield ""
    if attacks:
        rows = (
            (
                one.attack,
                "any" if one.strength is None else f"{one.strength:.4g}",
                one.level,
                _figure(one.clean),
                _figure(one.robust),
            )
            for one in attacks
        )
        yield from _table(("attack", "strength", "level", "balanced accuracy without", "under it"), rows)
    else:
        yield f"Attacks: {NOT_EVALUATED}."
    for one in record.certificates if record else ():
        if one.model == contents.run:
            points = ", ".join(f"{point.radius:g}: {_figure(point.balanced)}" for point in one.points)
            yield f"\nCertified balanced accuracy by L2 radius at sigma {one.sigma:g}: {points}."


def _calibration(contents: Contents, record: Record | None) -> Iterator[str]:
    if contents.calibrated:
        yield f"Temperatures: {contents.temperature['frame']:.3f} for pictures, {contents.temperature['video']:.3f} for"
        yield f"videos, fitted on {len(contents.calibration_families)} families of val that chose nothing else."
    else:
        yield "Not calibrated: its probabilities are the sigmoid of its logits."
    limits = record and {one.level: one for one in record.thresholds if one.model == contents.run}
    for level, one in (limits or {}).items():
        yield f"\nThreshold by {level}: logit {one.logit:.4f} ({_md(one.source)})."
    if not limits and contents.thresholds is not None:
        for name, value in contents.thresholds.limits.items():
            yield f"\nThreshold by {name}: logit {value:.4f} ({_md(contents.thresholds.source)})."


def _groups(contents: Contents, record: Record | None) -> Iterator[str]:
    groups = [one for one in record.groups if one.model == contents.run] if record else []
    if not groups:
        yield f"Groups of people: {NOT_EVALUATED}."
        return
    names = ("auc", "fpr", "fnr")
    rows = ((one.group, str(one.videos), *(_figure(one.figures.get(name)) for name in names)) for one in groups)
    yield from _table(("group", "videos", *names), rows)


def _limits(contents: Contents, record: Record | None) -> Iterator[str]:
    methods = {name for one in contents.datasets if one["role"] in LEARNED for name in one.get("methods") or ()}
    known = f"It learned these methods: {', '.join(sorted(methods))}. " if methods else ""
    yield f"- {known}A face made by another method may get a low probability."
    yield "- It sees faces that a detector finds; a face that is small, dark or turned away is not scored."
    if any(not one.known for one in contents.members):
        yield "- What one of its models was trained on is not recorded, so leaks into test data cannot be found."
    for line in (*record.leaks, *record.unchecked, *record.notes, *record.masked) if record else ():
        yield f"- {_md(line)}"


def _licences(contents: Contents) -> Iterator[str]:
    for one in contents.members:
        first = "random weights" if one.licence is None else f"weights of the licence {_md(one.licence)}"
        yield f"- {_md(one.name)}: it began with {first}."
    yield "- Whoever passes the model on checks the licences of these weights and of the datasets above."


def _lineage(contents: Contents) -> Iterator[str]:
    yield f"- code: {contents.commit or 'commit not recorded'}"
    for one in contents.members:
        yield f"- {_md(one.name)}: checkpoint {one.sha256[:_HASH]}, recipe {one.recipe_fingerprint[:_HASH]}"
        for parent in one.parents:
            mark = f", checkpoint {parent.sha256[:_HASH]}" if parent.sha256 else ""
            yield f"  - {parent.role}: `{_md(parent.path)}`{mark}"
    yield f"- packaged with {', '.join(f'{name} {value}' for name, value in contents.versions.items())}"


def _rows(contents: Contents, record: Record) -> list[Row]:
    return [row for row in record.rows if row.model == contents.run and row.level in ("frame", "video")]


def _part(row: Row) -> tuple[str, str, str]:
    return row.dataset or "all", row.compression or "all", row.method or "all"


def _builds(record: Record) -> str:
    return ", ".join(
        f"{_md(one.dataset)} ({(one.fingerprint or 'no fingerprint')[:_HASH]}{', SYNTHETIC' if one.synthetic else ''})"
        for one in record.builds
    )


def _figure(one: Figure | None) -> str:
    if one is None or one.value is None:
        return NOT_EVALUATED
    spread = f" [{one.low:.3f}, {one.high:.3f}]" if one.low is not None and one.high is not None else ""
    return f"{one.value:.3f}{spread}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(map(_md, head))} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(_md, row))} |"


def _list(lines: Sequence[str]) -> Iterator[str]:
    return (f"- {line}" for line in lines)


def _md(text: str) -> str:
    """Text from outside in one line, without a meaning in Markdown or HTML."""
    for mark, written in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "'"), ("[", "\\[")):
        text = text.replace(mark, written)
    return " ".join(text.split())
