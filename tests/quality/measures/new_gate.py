"""Run by ``test_new_gate.py`` beside a Semblance that has one gate more: builds, audits and reports with it."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from semblance import manifests
from semblance.ingest import recipe as recipes
from semblance.ingest.process.rows import finished
from semblance.ingest.records import Seen
from semblance.ingest.steps import crops
from semblance.manifests import reference, schema
from semblance.manifests.records import Face, Frame, Measures, Outcome, Properties, Video
from semblance.quality import gates, measures
from semblance.quality.checks import drift, filter_fairness, shortcuts
from semblance.quality.report import gallery, statistics
from tests.shards import synthetic

RECIPE = recipes.load("plan", ["gates.blur=null"])
IMAGE = np.random.default_rng(0).integers(80, 180, (400, 600, 3), np.uint8)


def seen(index: int, nose: float) -> Seen:
    """A face whose nose is moved to the side by a share of half the eye distance."""
    landmarks = (230.0, 140.0, 270.0, 140.0, 250.0 + 20 * nose, 160.0, 235.0, 190.0, 265.0, 190.0)
    face = Face(box=(200.0, 100.0, 300.0, 220.0), landmarks=landmarks, confidence=0.99, track=0)
    crop = crops.cut(Frame(index=index, time_s=0.0, image=IMAGE), face, RECIPE.crop)
    found = measures.measure(crop, Measures(), IMAGE)
    verdict = gates.judge(face, found, RECIPE.gates)
    return Seen(
        frame_index=index,
        time_s=0.0,
        image=crop.image,
        face=face,
        geometry=crop.geometry,
        measures=found,
        verdict=verdict,
        stage="gate",
    )


def outcome(row: dict[str, Any]) -> Outcome:
    """One frontal face and one that is turned away, as ``ingest`` makes rows of them."""
    video = Video(**{field.name: row[field.name] for field in fields(Video) if field.name in row})
    faces = [seen(0, 0.0), seen(1, 0.8)]
    return finished(video, RECIPE, Properties(), "pyav", None, [0, 1], faces, dict)


def main(out: str) -> None:
    """Print what every part says of the gate."""
    videos = [
        Video(video_id=f"folder-{n}", path=f"{n}.mp4", dataset="folder", label=0, method="pristine", family_id=f"f{n}")
        for n in range(3)
    ]
    synthetic.build(Path(out), videos, make=outcome)
    frontal, turned = seen(0, 0.0), seen(1, 0.8)
    assert turned.face is not None
    assert turned.measures is not None
    answers: dict[str, Any] = {"from": gates.__file__, "recipe": RECIPE.gates.model_dump()}
    answers["set"] = recipes.load("plan", ["gates.yaw=30"]).gates.yaw
    for name, one in (("frontal", frontal), ("turned", turned)):
        assert one.verdict is not None
        answers[name] = {"yaw": round(getattr(one.measures, "yaw"), 6), "reasons": list(one.verdict.reasons)}  # noqa: B009
    off = recipes.load("plan", ["gates.yaw=null", "gates.blur=null"]).gates
    answers["off"] = list(gates.judge(turned.face, turned.measures, off).reasons)
    answers["samples"], answers["rejects"] = schema.SAMPLES.names, schema.REJECTS.names
    row = manifests.scan(out, "rejects").collect().row(0, named=True)
    answers["reject"] = {"reason": row["reason"], "measured": round(row["measured"], 6), "limit": row["limit"]}
    answers["reference"] = reference.markdown(["samples"])
    drawn = {one.name: one for one in statistics.distributions(out, answers["recipe"])}["yaw"]
    answers["distribution"] = {name: getattr(drawn, name) for name in ("title", "unit", "low", "high")}
    pictures = gallery.Gallery(out)
    answers["sheets"] = [sheet.title for sheet in gallery.worst(pictures)]
    answers["rejected"] = [sheet.title for sheet in gallery.rejected(pictures)]
    table = shortcuts.video_table(manifests.scan(out), manifests.scan(out, "videos"))
    answers["face"] = [name for name in shortcuts.FACE if name in table.columns]
    answers["acquisition"] = shortcuts.ACQUISITION
    answers["drift"] = [one.column for one in drift.drift(out, out)]
    group = {"by": "method", "group": "x", "faces": 9, "rejected": 5, "families": 9, "rate": 0.5, "low": 0.4}
    unequal = filter_fairness.Group(**group, high=0.6, reason="turned", judged=True, warning=True)  # type: ignore[arg-type]
    (answers["fairness"],) = filter_fairness.warnings([unequal])
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
