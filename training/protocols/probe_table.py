"""What a probe found: its lines, and the table that it prints and writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from semblance.manifests import storage
from semblance.manifests.config import readable_json
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation.report.matrices import csv_text
from semblance.training.evaluation.report.page import aligned
from semblance.training.evaluation.seeds import Spread
from semblance.training.protocols.plan import Plan

CSV: Final = "probe.csv"
JSON: Final = "probe.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A start on a column, by one way: AUC by video as a mean over ``seeds`` repetitions, with its spread.

    ``gain``: over random weights by the same way, with an interval over shared draws of groups (and seeds), where there
    are enough groups. None for random weights themselves.
    """

    way: str
    start: str
    column: str
    seeds: int
    auc: float
    over: Spread | None
    gain: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a linear probe came out: its penalty, and its AUC by video on val."""

    start: str
    seed: int
    strength: float
    val_auc: float | None


def table(lines: Sequence[Line]) -> list[list[Any]]:
    """A heading and a line for each, for a terminal."""
    found: list[list[Any]] = [["probe", "start", "judged on", "seeds", "AUC by video", "sd", "gain", "95 % interval"]]
    for one in lines:
        gain = one.gain
        interval = "-"
        if gain is not None and gain.low is not None and gain.high is not None:
            interval = f"{gain.low:+.3f} to {gain.high:+.3f}"
        found.append(
            [
                *(one.way, one.start, one.column, str(one.seeds), f"{one.auc:.3f}"),
                "-" if one.over is None else f"{one.over.sd:.3f}",
                "-" if gain is None or gain.value is None else f"{gain.value:+.3f}",
                interval,
            ]
        )
    return found


def write(made: Plan, lines: Sequence[Line], fitted: Sequence[Fitted], to: str | Path) -> str:
    """Write probe.csv and probe.json into the folder ``to``, and return the table for a terminal."""
    heading = ["probe", "start", "column", "seeds", "auc", "sd", "gain", "low", "high"]
    rows = [heading] + [
        [
            *(one.way, one.start, one.column, one.seeds, one.auc, one.over.sd if one.over else None),
            *((one.gain.value, one.gain.low, one.gain.high) if one.gain else (None, None, None)),
        ]
        for one in lines
    ]
    storage.write_bytes(str(Path(to) / CSV), csv_text(rows).encode())
    record = {
        "format": FORMAT,
        "split": made.columns[0].split,
        "baseline": made.baseline,
        "seeds": list(made.seeds),
        "recipe": made.variants[0].recipe.model_dump(mode="json", exclude={"seed"}),
        "starts": {one.row: {str(seed): one.of(seed).model.pretrained for seed in made.seeds} for one in made.variants},
        "lines": [asdict(one) for one in lines],
        "linear": [asdict(one) for one in fitted],
    }
    storage.write_bytes(str(Path(to) / JSON), readable_json(record).encode())
    return aligned(table(lines))
