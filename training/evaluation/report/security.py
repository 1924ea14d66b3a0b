"""The sections on attacks and on certificates: tables, curves, and the same as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from semblance.training.attacks import EPS
from semblance.training.evaluation.attacked import Attacked
from semblance.training.evaluation.evidence import Evidence
from semblance.training.evaluation.report import matrices, svg
from semblance.training.evaluation.report.blocks import Block, Cell, Drawings, Fold, Points, Section, Table, Value
from semblance.training.evaluation.report.figures import both, shown
from semblance.training.evaluation.report.svg import Axis
from semblance.training.evaluation.smoothing import Certificate
from semblance.training.evaluation.strikes import Strike, Transferred
from semblance.training.evaluation.strikes import shown as strong

_LEVELS: Final = {"frame": "By frame", "video": "By video, the maximum over its persons"}


def attacks(found: Attacked) -> Section:
    """Runs under attack, with curves over strength."""
    text = (
        f"A fixed slice of {found.pictures:,} pictures, half of them of real videos where there are as many, chosen by "
        "the hash of their ids. Each is changed by at most the strength in every value, so that the run errs at val's "
        "threshold; `cw` looks for the nearest picture in L2 instead. The attacker knows the run's gradients, `square` "
        "its scores alone. The clean figures are on the same slice. *turned*: of what is judged rightly "
        "without the attack. Balanced accuracy is 0.5 for a constant answer, which no attack can turn: read it beside "
        "the clean one. *8 bits*: where the attacked pictures are rounded to grey levels within the strength, as a "
        "file holds them. A video is judged by its pictures in the slice, of which real faces in a fake video are left "
        "alone. `cw`, `fab` and `aa-binary` stop at the threshold by frame, so by video they are no worst case. "
        "`aa-binary` is APGD, FAB and Square: the standard AutoAttack is not defined on two classes."
    )
    blocks: list[Block] = [text]
    blocks += [_table([one for one in found.strikes if one.level == level], level) for level in ("frame", "video")]
    blocks += [drawings] if (drawings := _curves(found)) is not None else []
    if found.transferred:
        blocks.append(Fold(title="Attacks made on other runs", blocks=[_transferred(found.transferred)]))
    blocks += _evidence(found.evidence)
    blocks += [Points(points=list(found.notes))] if found.notes else []
    return Section(title="Under attack", blocks=blocks)


def summary(found: Attacked | None, certified: Sequence[Certificate]) -> list[list[str]]:
    """Balanced accuracy by frame under each attack and certified: rows for a terminal, the heading first."""
    rows = [["model", "balanced accuracy", "clean", "at the strength or L2 radius in brackets"]]
    strikes = [] if found is None else [one for one in found.strikes if one.level == "frame"]
    for model, attack in dict.fromkeys((one.model, one.attack) for one in strikes):
        some = [one for one in strikes if (one.model, one.attack) == (model, attack)]
        under = ", ".join(f"{_number(one.robust.value)} ({strong(one.strength)})" for one in some)
        rows.append([model, f"under {attack}", _number(some[0].clean.value), under])
    for certificate in certified:
        held = ", ".join(f"{_number(one.balanced.value)} ({one.radius:.2f})" for one in certificate.points)
        rows.append([certificate.model, "certified", _number(certificate.clean.value), held])
    return rows if len(rows) > 1 else []


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(strikes: Sequence[Strike], level: str) -> Table:
    heading = ["model", "attack", "#strength", "#right without", "#turned", "#balanced acc. clean", "#under attack"]
    heading += ["#8 bits", *(["#median L2"] if level == "frame" else [])]
    lines: list[list[Value]] = []
    for one in strikes:
        distance = "-" if one.distance is None else f"{one.distance:.3g}"
        lines.append(
            [
                *(one.model, one.attack, strong(one.strength), f"{one.right:,} of {one.reals + one.fakes:,}"),
                *(both(one.success), both(one.clean), both(one.robust), shown(one.rounded)),
                *([distance] if level == "frame" else []),
            ]
        )
    counts = f" {strikes[0].reals:,} real and {strikes[0].fakes:,} fake." if strikes else ""
    return Table(heading=heading, lines=lines, caption=f"{_LEVELS[level]}.{counts}", label=f"Attacks, {level}")


def _curves(found: Attacked) -> Drawings | None:
    """Robust balanced accuracy by frame over strength, a plot for each attack; None without two strengths."""
    strikes = [one for one in found.strikes if one.level == "frame" and one.strength is not None]
    top = max((one.strength or 0.0 for one in strikes), default=0.0)
    if len({one.strength for one in strikes}) < 2:
        return None
    legend = svg.keys(list(dict.fromkeys(one.model for one in strikes)))
    plots = []
    for attack in dict.fromkeys(one.attack for one in strikes):
        lines: dict[str, list[tuple[float, float]]] = {}
        for one in strikes:
            if one.attack != attack or one.clean.value is None or one.robust.value is None:
                continue
            lines.setdefault(one.model, [(0.0, one.clean.value)]).append((one.strength or 0.0, one.robust.value))
        if lines:
            head = f"Balanced accuracy by frame under {attack}"
            across = Axis(title="strength, of values in [0, 1]", high=top)
            plots.append((head, svg.plot(head, across, Axis(title="balanced accuracy"), lines, legend, dots=True)))
    return Drawings(plots=plots, legend=legend) if plots else None


def _transferred(found: Sequence[Transferred]) -> Table:
    heading = ["judged", "attacked", "attack", "#strength", "#right without", "#turned"]
    lines: list[list[Value]] = [
        [one.model, one.source, one.attack, strong(one.strength), f"{one.right:,}", f"{one.success:.3f}"]
        for one in found
    ]
    caption = (
        "Attacks that were made on another run, and know nothing of the one judged, by frame. Runs that share a "
        "checkpoint, or take pictures of another size, are not compared."
    )
    return Table(heading=heading, lines=lines, caption=caption, label="Transferred attacks")


def _evidence(found: Sequence[Evidence]) -> list[Block]:
    if not found:
        return []
    strengths = list(dict.fromkeys(one.strength for one in found))
    rows: dict[tuple[str, str | None], list[Evidence]] = {}
    for one in found:
        rows.setdefault((one.dataset, one.method), []).append(one)
    lines: list[list[Value]] = [
        [dataset, method or "nameless", f"{inside[0].pairs:,}", *map(_share, inside)]
        for (dataset, method), inside in rows.items()
    ]
    caption = (
        "How much of a fake an attack could undo: the share of its values that lie within the strength of its "
        "original's crop, and below it the pairs of which all do. Such a pair no detector can tell apart under attack."
    )
    heading = ["dataset", "method", "#pairs", *(f"#within {strong(one)}" for one in strengths)]
    return [Table(heading=heading, lines=lines, caption=caption, label="Evidence within the strength")]


def _share(one: Evidence) -> Cell:
    return Cell(text=f"{100 * one.share:.1f} %", small=f"{one.whole:,} whole")


def certificates(found: Sequence[Certificate], told: Sequence[str] = ()) -> Section:
    """Certified accuracy over the radius."""
    first = found[0]
    largest = max(one.cap for one in found)
    text = (
        f"Randomised smoothing by frame: the answer of most of {first.samples:,} copies of a picture with Gaussian "
        f"noise of {first.sigma:g}, in [0, 1] and not clipped. At a radius, a face counts if the answer is right and "
        f"no change of that L2 length can turn it, up to one wrong certificate in {1 / first.alpha:,.0f}. Without an "
        "answer a face counts as wrong. Balanced accuracy is 0.5 for a constant answer. So many copies cannot certify "
        f"more than {largest:.2f}, whatever the detector."
    )
    reach = "; ".join(f"L2 {one.covering:.1f} at {one.side} px" for one in {one.side: one for one in found}.values())
    never = (
        f"**The certificate never covers the plan's L-infinity {EPS:g}**: to cover a change of all values by that much "
        f"it would have to reach {reach}."
    )
    radii = [point.radius for point in first.points]
    heading = ["model", "trained with noise", "#without an answer", "#clean", *(f"#{radius:.2f}" for radius in radii)]
    lines: list[list[Value]] = []
    for one in found:
        trained = "no" if one.trained is None else f"{one.trained:g}"
        answers = f"{one.abstained:,} of {one.reals + one.fakes:,}"
        lines.append([one.model, trained, answers, both(one.clean), *(both(point.balanced) for point in one.points)])
    caption = (
        f"Certified balanced accuracy by L2 radius, {first.reals:,} real and {first.fakes:,} fake faces. *clean*: that "
        "of the detector itself, without noise."
    )
    table = Table(heading=heading, lines=lines, caption=caption, label="Certified accuracy")
    curves = {
        one.model: [(p.radius, p.balanced.value) for p in one.points if p.balanced.value is not None] for one in found
    }
    curves = {name: points for name, points in curves.items() if points}
    blocks: list[Block] = [text, never, table]
    if curves and len(radii) > 1:
        legend, head = svg.keys(list(curves)), "Certified balanced accuracy by frame"
        across = Axis(title="L2 radius", high=radii[-1])
        plot = svg.plot(head, across, Axis(title="balanced accuracy"), curves, legend, dots=True)
        blocks.append(Drawings(plots=[(head, plot)], legend=legend))
    return Section(title="Certified", blocks=[*blocks, *([Points(points=list(told))] if told else [])])


def files(attacked: Attacked | None, certified: Sequence[Certificate]) -> dict[str, str]:
    """``tables/attacks.csv``, ``transferred.csv``, ``evidence.csv`` and ``certified.csv``, as far as they were made."""
    made = {}
    if attacked is not None:
        made["attacks"] = list(_attack_lines(attacked.strikes))
        if attacked.transferred:
            names = ["model", "source", "attack", "strength", "right", "success"]
            made["transferred"] = [names, *([getattr(one, name) for name in names] for one in attacked.transferred)]
        if attacked.evidence:
            names = ["dataset", "method", "strength", "pairs", "share", "whole"]
            made["evidence"] = [names, *([getattr(one, name) for name in names] for one in attacked.evidence)]
    if certified:
        made["certified"] = list(_certified_lines(certified))
    return {f"tables/{name}.csv": matrices.csv_text(lines) for name, lines in made.items()}


def _attack_lines(strikes: Sequence[Strike]) -> Iterator[list[Any]]:
    plain = ["model", "attack", "strength", "level", "reals", "fakes", "right", "distance"]
    sure = ["success", "clean", "robust", "rounded"]
    yield [*plain, *(f"{name}{end}" for name in sure for end in ("", "_low", "_high"))]
    for one in strikes:
        figures = [getattr(one, name) for name in sure]
        values = [value for figure in figures for value in (figure.value, figure.low, figure.high)]
        yield [*(getattr(one, name) for name in plain), *values]


def _certified_lines(certified: Sequence[Certificate]) -> Iterator[list[Any]]:
    plain = ["model", "side", "sigma", "samples", "alpha", "cap", "reals", "fakes", "abstained", "trained"]
    yield [*plain, "radius", "balanced", "low", "high", "real", "fake"]
    for one in certified:
        for point in one.points:
            figure = point.balanced
            values = [point.radius, figure.value, figure.low, figure.high, point.real, point.fake]
            yield [*(getattr(one, name) for name in plain), *values]
