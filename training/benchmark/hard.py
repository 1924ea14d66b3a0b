"""The section on columns with ``attack`` or ``certify``."""

from __future__ import annotations

from semblance.training.attacks import EPS
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.robust import Hardened, Robust
from semblance.training.evaluation.report.blocks import Cell, Section, Table, Value
from semblance.training.evaluation.report.figures import interval, shown


def section(result: Benchmark) -> Section | None:
    """Balanced accuracy under attack and certified; None without such a column."""
    if not result.hardened:
        return None
    text = (
        "Balanced accuracy at val's threshold on a fixed slice of the pictures, and below it that of the same slice "
        "without attack or noise. A constant answer has 0.5, under any attack. Certificates are by frame. Over seeds a "
        "figure is their mean, and its interval reaches from the lowest to the highest end of those of its runs. These "
        "columns count in no figure of AUC, consistency or gain."
    )
    blocks: list[str | Table] = [text]
    if any(one.column.certify is not None for one in result.hardened):
        blocks.append(f"A certificate is of L2 changes: it never covers the plan's L-infinity {EPS:g}.")
    return Section(title="Under attack and certified", blocks=[*blocks, _table(result)])


def _table(result: Benchmark) -> Table:
    lines: list[list[Value]] = []
    for system in result.systems:
        lines += [
            [system.name, level, *(_cell(one, system.name, level) for one in result.hardened)]
            for level in ("video", "frame")
            if any(cell.row == system.name and cell.level == level for one in result.hardened for cell in one.cells)
        ]
    lines.append(["condition", "", *(one.said for one in result.hardened)])
    return Table(
        heading=["row", "by", *(f"#{one.column.name}" for one in result.hardened)],
        lines=lines,
        caption="Robust and certified balanced accuracy.",
        label="Robust balanced accuracy",
    )


def _cell(one: Hardened, row: str, level: str) -> Cell:
    cell = next((cell for cell in one.cells if (cell.row, cell.level) == (row, level)), None)
    if cell is None:
        return Cell(text="-")
    if cell.reason is not None:
        return Cell(text="-", small="not possible")
    return Cell(text=shown(cell.figure), small="\n".join(_small(cell)), link=f"{one.folder}/evaluation.html")


def _small(cell: Robust) -> list[str]:
    spread = f"± {cell.over.sd:.3f}" if cell.over is not None else ""
    wide = interval(cell.figure) or "no interval"
    return [part for part in (spread, wide, f"clean {shown(cell.clean)}") if part]
