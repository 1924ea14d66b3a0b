"""The evaluation as a versioned record, ``evaluation.json``: the source of its JSON Schema and its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, Literal

from pydantic import Field

from semblance.manifests.config import readable_json
from semblance.quality.audit.evidence import Part
from semblance.training.evaluation import provenance, worst
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.external import External
from semblance.training.evaluation.matrices import left_out
from semblance.training.evaluation.record_attacks import Attack, Certificate, Evidence, Transferred
from semblance.training.evaluation.record_parts import (
    Build,
    Change,
    Comparison,
    Cost,
    Figure,
    Group,
    LeftOut,
    Mean,
    Metric,
    Risk,
    Row,
    Run,
    Seeds,
    Threshold,
    Transfer,
    Wrong,
)
from semblance.training.evaluation.report.extras import Extras
from semblance.training.evaluation.results import LEVELS
from semblance.training.evaluation.seeds import spread
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.registry import METRICS
from semblance.training.runs.folder import versions

SCHEMA: Final = "semblance-evaluation/1"


class Record(Part):
    """An evaluation. Every figure of the page is here."""

    schema_: Literal["semblance-evaluation/1"] = Field(alias="schema", description="name and version of this format")
    date: str = Field(description="date of the evaluation, in UTC unless --date gave it")
    versions: dict[str, str] = Field(description="what made the evaluation: semblance, python, torch, ...")
    split: str = Field(description="the evaluated split")
    split_column: str = Field(description="the column of its protocol; split: the active one of each build")
    draws: int = Field(description="bootstrap draws of an interval")
    seed: int = Field(description="seed of the draws")
    builds: list[Build] = Field(description="the evaluated builds")
    runs: list[Run] = Field(description="the evaluated runs, then external detectors")
    thresholds: list[Threshold] = Field(description="the thresholds of every model and level")
    metrics: list[Metric] = Field(description="the figures of every row, in the order of the page")
    rows: list[Row] = Field(description="every model at every level, overall and by dataset, compression and method")
    seeds: list[Seeds] = Field(description="runs that differ by their seed alone, and the means over them")
    differences: list[Comparison] = Field(description="paired differences between runs, by video")
    left_out: list[LeftOut] = Field(description="runs on methods that their training lacked")
    transfers: list[Transfer] = Field(description="thresholds on datasets that they were not chosen on")
    worst: list[Wrong] = Field(description="the videos that each run is most wrong about")
    changes: list[Change] = Field(description="the same videos under other conditions; empty if not asked for")
    groups: list[Group] = Field(description="figures by group; empty if not asked for")
    risks: list[Risk] = Field(description="Monte-Carlo dropout; empty if not asked for")
    costs: list[Cost] = Field(description="cost of inference; empty if not asked for")
    attacks: list[Attack] = Field(description="runs under attack; empty if not asked for")
    transferred: list[Transferred] = Field(description="attacks made on other runs; empty if not asked for")
    evidence: list[Evidence] = Field(description="what an attack could undo of a fake; empty if not asked for")
    masked: list[str] = Field(description="runs whose gradients are masked, as sentences; empty if not asked for")
    certificates: list[Certificate] = Field(description="randomised smoothing; empty if not asked for")
    leaks: list[str] = Field(description="what the split shares with training data, as sentences")
    unchecked: list[str] = Field(description="why leaks could not be looked for, as sentences")
    notes: list[str] = Field(description="what else a reader should know, as sentences")


def make(result: Evaluation, extras: Extras | None = None) -> Record:
    """The record of an evaluation."""
    extras = extras or Extras()
    return Record.model_validate(
        {
            "schema": SCHEMA,
            "date": result.date,
            "versions": versions(),
            "split": result.options.split,
            "split_column": result.split_column,
            "draws": result.options.draws,
            "seed": result.options.seed,
            "builds": [asdict(one) for one in provenance.builds(result)],
            "runs": [_run(one) for one in result.scorers.values()],
            "thresholds": [
                {"model": model, "level": level, "logit": limits[level], "source": result.threshold_sources[model]}
                for model, limits in result.thresholds.items()
                for level in LEVELS
            ],
            "metrics": [{name: getattr(one, name) for name in Metric.model_fields} for one in METRICS.values()],
            "rows": [_row(one) for one in result.rows],
            "seeds": [_seeds(group, result) for group in result.seeds],
            "differences": [asdict(one) for one in result.pairs],
            "left_out": [asdict(one) | {"auc": _figure(one.auc), "gap": one.gap} for one in left_out(result.rows)],
            "transfers": [asdict(one) | {"loss": one.loss} for one in result.transfers],
            "worst": [asdict(one) for found in worst.of_runs(result).values() for one in found],
            "changes": [asdict(one) for one in extras.changes],
            "groups": [_group(fair.model, group) for fair in extras.fairness for group in fair.groups],
            "risks": [_risk(model, risk) for model, risk in (extras.uncertainty or {}).items()],
            "costs": [asdict(one) for one in extras.costs],
            **_attacks(extras),
            "certificates": [asdict(one) | {"covering": one.covering} for one in extras.certificates],
            "leaks": [str(leak) for leak in result.leaks.leaks],
            "unchecked": list(result.leaks.unknown),
            "notes": [*result.notes, *extras.notes],
        }
    )


def as_json(record: Record) -> str:
    """The record as a JSON document for people and machines."""
    return readable_json(record.model_dump(mode="json", by_alias=True))


def _attacks(extras: Extras) -> dict[str, Any]:
    found = extras.attacked
    if found is None:
        return {"attacks": [], "transferred": [], "evidence": [], "masked": []}
    return {
        "attacks": [asdict(one) for one in found.strikes],
        "transferred": [asdict(one) for one in found.transferred],
        "evidence": [asdict(one) for one in found.evidence],
        "masked": list(found.masked),
    }


def _run(predictor: Predictor | External) -> dict[str, Any]:
    if isinstance(predictor, External):
        outside = asdict(provenance.external(predictor))
        return {
            "name": outside.pop("name"),
            "kind": "external",
            "path": None,
            "ensemble": False,
            "frame_temperature": 1.0,
            "video_temperature": 1.0,
            "models": [],
            "external": outside,
        }
    return {
        "name": predictor.name,
        "kind": "ensemble" if predictor.calibrated else "run",
        "path": str(predictor.path),
        "ensemble": predictor.calibrated,
        "frame_temperature": predictor.frame_temperature,
        "video_temperature": predictor.video_temperature,
        "models": [asdict(one) for one in provenance.models(predictor)],
        "external": None,
    }


def _row(row: Any) -> dict[str, Any]:
    named = {name: getattr(row, name) for name in Row.model_fields if name not in ("figures", "filled")}
    return named | {
        part: {name: _figure(estimate) for name, estimate in getattr(row, part).items()}
        for part in ("figures", "filled")
    }


def _figure(one: Any) -> dict[str, float | None]:
    return {name: getattr(one, name) for name in Figure.model_fields}


def _group(model: str, group: Any) -> dict[str, Any]:
    figures: Mapping[str, Any] = group.figures
    return {
        "model": model,
        "group": group.name,
        "videos": group.videos,
        "figures": {name: _figure(one) for name, one in figures.items()},
    }


def _risk(model: str, risk: Any) -> dict[str, Any]:
    curve = [{"coverage": coverage, "wrong": wrong} for coverage, wrong in risk.curve]
    return asdict(risk) | {"model": model, "curve": curve}


def _seeds(group: Any, result: Evaluation) -> dict[str, Any]:
    parts = dict.fromkeys((row.level, row.dataset, row.compression, row.method) for row in result.rows)
    means = []
    for level, dataset, compression, method in parts:
        rows = [
            row
            for row in result.rows
            if (row.level, row.dataset, row.compression, row.method) == (level, dataset, compression, method)
            and row.model in group.runs
        ]
        found = {name: spread(row.figures[name].value for row in rows) for name in METRICS}
        figures = {name: Mean(mean=one.mean, sd=one.sd) for name, one in found.items() if one is not None}
        place = {"level": level, "dataset": dataset, "compression": compression, "method": method}
        means.append(place | {"figures": figures})
    return {"name": group.name, "runs": list(group.runs), "seeds": list(group.seeds), "means": means}
