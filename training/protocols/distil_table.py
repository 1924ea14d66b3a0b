"""The table of a distillation: for a terminal, as distil.json and as distil.csv."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import readable_json
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation.report.matrices import csv_text
from semblance.training.evaluation.report.page import aligned
from semblance.training.protocols.distil import OPENVINO, Distilled, Kept, Line
from semblance.training.runs import folder

FORMAT: Final = 1
NOTES: Final = (
    "kept: AUC by video of the student divided by the teacher's on the same videos; change: their difference, with its "
    "middle 95 % over draws of whole people or families, which needs ten of each class",
    "ms: of one picture from its bytes to the logit on one CPU thread, alone; all on the same crops of val",
    "the students' best epochs were chosen on val, so test is the fairer figure",
)


def text(result: Distilled) -> str:
    """The table, what its columns mean, and why it ended, for a terminal."""
    heading = ["model", "GFLOP", "parameters", "torch ms", "OpenVINO ms"]
    heading += [f"{what} {split}" for split in ("val", "test") for what in ("AUC", "kept", "change")]
    lines = [heading, *(_line(line) for line in result.lines)]
    told = [aligned(lines), *NOTES]
    return "\n".join([*told, result.stopped] if result.stopped else told)


def document(result: Distilled) -> dict[str, Any]:
    """distil.json: what was asked, and every figure unrounded."""
    wish = result.wish
    return {
        "format": FORMAT,
        "date": result.date,
        "versions": folder.versions(),
        "data": list(wish.outs),
        "teacher": wish.teacher,
        "recipe": wish.recipe.model_dump(mode="json"),
        "stages": list(wish.stages),
        "threshold": wish.threshold,
        "chain": wish.chain,
        "stopped": result.stopped,
        "notes": list(NOTES),
        "lines": [asdict(line) | {"val": _kept(line.val), "test": _kept(line.test)} for line in result.lines],
    }


def write(result: Distilled, to: str | Path) -> str:
    """Write distil.json and distil.csv into the folder ``to``, and return the table for a terminal."""
    place = Path(to)
    storage.write_bytes(str(place / "distil.json"), readable_json(document(result)).encode())
    storage.write_bytes(str(place / "distil.csv"), csv_text(_csv(result)).encode())
    return text(result)


def _kept(kept: Kept) -> dict[str, Any]:
    return asdict(kept) | {"share": kept.share}


def _csv(result: Distilled) -> list[list[Any]]:
    runtimes = list(result.lines[0].latency)
    heading: list[Any] = ["model", "stage", "width", "gflop", "parameters"]
    heading += [f"{name} {how} ms" for name in runtimes for how in ("alone", "batch")]
    for split in ("val", "test"):
        heading += [f"{split} {what}" for what in ("auc", "teacher auc", "kept", "change", "change low", "change high")]
    rows: list[list[Any]] = [heading]
    for line in result.lines:
        ms = [value for name in runtimes for value in (line.latency[name].alone_ms, line.latency[name].batch_ms)]
        row: list[Any] = [line.name, line.share, line.width, line.gflop, line.parameters, *ms]
        for kept in (line.val, line.test):
            row += [kept.auc, kept.teacher, kept.share, kept.change.value, kept.change.low, kept.change.high]
        rows.append(row)
    return rows


def _line(line: Line) -> list[str]:
    own = [line.name, f"{line.gflop:.3f}", f"{line.parameters:,}"]
    own += [f"{line.latency[name].alone_ms:.1f}" for name in ("torch", OPENVINO)]
    for kept in (line.val, line.test):
        student = line.share is not None
        own += [f"{kept.auc:.3f}", f"{kept.share:.3f}" if student else "-", _change(kept.change) if student else "-"]
    return own


def _change(change: Estimate) -> str:
    value = f"{change.value:+.3f}"
    return value if change.low is None or change.high is None else f"{value} ({change.low:+.3f} to {change.high:+.3f})"
