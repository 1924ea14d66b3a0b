"""A proposal of other limits on the console: the limits, what they would keep, and the lines to copy."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from semblance.manifests.console import plain
from semblance.quality.checks import filter_fairness
from semblance.quality.checks.gate_choices import Choice, Rate
from semblance.quality.checks.shares import NAMES
from semblance.quality.checks.thresholds import Thresholds


def show(found: Thresholds, out: str, console: Console) -> None:
    """Print the proposal for the build ``out``."""
    console.print(_limits(found, out))
    console.print(_kept(found))
    for line in lines(found):
        console.print(plain(line), markup=False, highlight=False, soft_wrap=True)


def _limits(found: Thresholds, out: str) -> Table:
    base = " and ".join(f"{count:,} {name}" for name, count in found.base.items())
    table = Table(title=Text(plain(f"{out}: each gate alone, on {base} faces that pass the gates that stay")))
    if not all(one.moves for one in found.proposals):
        table.caption = "a gate that stays is shown on all faces"
    table.add_column("gate")
    table.add_column("now", justify="right")
    for name in found.base:
        table.add_column(f"{name} kept", justify="right")
    table.add_column(f"for {_percent(found.keep)}", justify="right")
    for name in found.base:
        table.add_column(f"{name} kept", justify="right")
    table.add_column("together", justify="right")
    for one in found.proposals:
        shares = [[f"{share[name]:.1%}" for name in found.base] for share in (one.keeps_now, one.keeps_alone)]
        together = _number(one.together) if one.moves else "stays"
        table.add_row(one.name, _number(one.now), *shares[0], _number(one.alone), *shares[1], together)
    return table


def _kept(found: Thresholds) -> Table:
    """A row per group, a column per choice: the faces that all gates keep under it."""
    table = Table(title="faces kept by all gates, if the named limit changes, or all together")
    for head in ("group", "faces"):
        table.add_column(head, justify="left" if head == "group" else "right")
    for choice in found.choices:
        table.add_column(choice.name, justify="right")
    heading = ""
    for by, group in found.groups:
        if by != heading:
            table.add_section()
            heading = by
        faces = found.groups[by, group]
        cells = [f"{choice.kept[by, group]:,} ({choice.kept[by, group] / faces:.0%})" for choice in found.choices]
        table.add_row(Text(plain(f"{by}: {group}")), f"{faces:,}", *cells)
    return table


def lines(found: Thresholds) -> Iterator[str]:
    """Where the label would be told, what enters the counts, and what to copy."""
    yield from (sentence for choice in found.choices if (sentence := _told(choice)))
    if all(choice.verdict == "too few to tell" for choice in found.choices):
        yield (
            "whether a choice keeps more of one label is not tested: it needs reals and fakes of at least "
            f"{filter_fairness.LEAST_FAMILIES} families each"
        )
    yield from found.notes
    if found.settings:
        words = " ".join(f"--set {shlex.quote(setting)}" for setting in found.settings)
        yield f"to keep at least {_share(found)}: ingest build ... {words} --out NEW (a new recipe needs a new folder)"
        if found.searched is not None:
            yield (
                f"the detector looks only for faces from {found.searched} px: with smaller ones, also --set "
                f"detect.min_face={found.search}; it then finds further faces, which these counts cannot contain"
            )
    else:
        yield f"the present limits keep at least {_share(found)}: nothing to change"
    yield "The defaults are the training plan's and stay the defaults; a looser gate lets in worse faces: look at them."


def _told(choice: Choice) -> str | None:
    if choice.verdict != "told":
        return None
    rates = " and ".join(map(_rate, choice.rates))
    return f"warning: {choice.name} tells the label: it keeps {rates} (95 % intervals over families)"


def _share(found: Thresholds) -> str:
    """The wished share and what it is of: of the faces seen, those that the gates that stay let pass."""
    parts = [f"{count:,} of {found.groups['label', name]:,} {name}" for name, count in found.base.items()]
    return f"{_percent(found.keep)} of each label's faces that pass the gates that stay ({', '.join(parts)})"


def _rate(rate: Rate) -> str:
    return f"{rate.share:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {NAMES[rate.label]} faces"


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _number(limit: float | None) -> str:
    return "off" if limit is None else f"{limit:.6g}"
