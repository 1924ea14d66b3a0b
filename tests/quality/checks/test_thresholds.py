"""Proposed limits: what they would keep is what the gates keep under them, judged face by face and built again."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from semblance import manifests
from semblance.ingest.plan import make as make_plan
from semblance.ingest.recipe import load
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import make_sample_id
from semblance.manifests.records import SPLIT_COLUMNS, Face, Measures, Outcome, Rejection, Sample, Verdict, Video
from semblance.quality.checks.thresholds import propose
from semblance.quality.gates import GatesConfig, judge
from tests.conftest import Run
from tests.ingest import in_process
from tests.shards import synthetic

BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
GATES = ("confidence", "min_face", "brightness", "face_ratio", "blur")
IDENTITY = ("video_id", "dataset", "label", "method", "compression", "family_id", *SPLIT_COLUMNS)
PICTURE = b"\xff\xd8\xff"


def faces_of(family: str, name: str, *, guided: bool) -> list[tuple[Face, Measures]]:
    """Random faces: those of a guided fake have boxes and confidence of its family's, and measures of its own."""
    place, own = random.Random(family if guided else name), random.Random(f"own {name}")
    found = []
    for _ in range(place.randint(1, 12)):
        side, x = place.uniform(40, 200), place.uniform(0, 900)
        confidence = place.choice([place.uniform(0.7, 1), 0.999])
        values = {
            "blur": own.choice([own.uniform(0, 40), own.lognormvariate(4, 1), 50.0]),
            "brightness": own.choice([None, own.uniform(0.05, 0.98), 0.3]),
            "face_ratio": own.uniform(0.5, 0.7),
            "ita": own.uniform(-50, 60),
        }
        box = tuple(float(np.float32(one)) for one in (x, 10, x + side, 10 + 0.8 * side))
        exact = {key: None if value is None else float(np.float32(value)) for key, value in values.items()}
        face = Face(box=box, landmarks=(0.0,) * 10, confidence=float(np.float32(confidence)))  # type: ignore[arg-type]
        found.append((face, Measures(**exact)))  # type: ignore[arg-type]
    return found


def verdicts(row: dict[str, Any], gates: GatesConfig) -> list[Verdict]:
    """The verdicts on a video's faces; a guided fake's depend on those of its original."""
    guided = row["method"] == "Swap"
    original = verdicts({"video_id": row["family_id"], "family_id": "", "method": ""}, gates) if guided else []
    faces = faces_of(row["family_id"], row["video_id"], guided=guided)
    return [
        judge(face, measures, gates, original[place] if guided else None)
        for place, (face, measures) in enumerate(faces)
    ]


def outcome(row: dict[str, Any], gates: GatesConfig) -> Outcome:
    guided = row["method"] == "Swap"
    identity = {
        name: row[name] for name in ("video_id", "dataset", "label", "method", "compression", "family_id", "split")
    }
    samples, rejections = [], []
    faces = faces_of(row["family_id"], row["video_id"], guided=guided)
    found = verdicts(row, gates)
    for place, ((face, measures), verdict) in enumerate(zip(faces, found, strict=True)):
        cells = identity | asdict(measures) | dict(zip(BOX, face.box, strict=True))
        cells |= {"confidence": face.confidence, "frame_index": place, "track": 0, "face_label": row["label"]}
        cells |= {"sample_id": make_sample_id(row["video_id"], place, 0), "guide": "original" if guided else None}
        if verdict.keep or gates.mode == "mark":
            samples.append(
                Sample(row=cells | {"verdict": verdict.reason or "keep", "mask": False}, picture=b"\xff\xd8\xff")
            )
        if not verdict.keep:
            why = {"unit": "face", "stage": "gate", "reasons": list(verdict.reasons), "reason": verdict.reason}
            rejections.append(Rejection(row=cells | why | {"measured": verdict.measured, "limit": verdict.limit}))
    kept = sum(verdict.keep for verdict in found)
    video = {name: row[name] for name in (*identity, "path", "shard")} | {"status": "ok", "frames_sampled": len(found)}
    video |= {"faces_seen": len(found), "crops_kept": kept, "crops_rejected": len(found) - kept, "frames_failed": 0}
    return Outcome(video=video, samples=tuple(samples), rejections=tuple(rejections))


def planned(families: int, seed: int) -> list[Video]:
    """Families of a real, a guided fake (Swap) and one that was detected on its own (Other)."""
    return [
        Video(
            video_id=f"x-{seed}-{family}{kind}",
            path=f"{family}{kind}.mp4",
            dataset="folder",
            label=int(method != "pristine"),
            method=method,
            family_id=f"x-{seed}-{family}r",
        )
        for family in range(families)
        for kind, method in (("r", "pristine"), ("s", "Swap"), ("o", "Other"))
    ]


def build(out: Path, seed: int, *options: str) -> list[Video]:
    gates = load("plan", options).gates
    videos = planned(12, seed)
    synthetic.build(out, videos, "split.protocol=family", *options, make=partial(outcome, gates=gates))
    return videos


def recounted(videos: list[Video], settings: tuple[str, ...], options: tuple[str, ...]) -> Counter[tuple[str, str]]:
    """Kept faces by label and by method, from ``gates.judge`` on every face."""
    gates = load("plan", [*options, *settings]).gates
    counts: Counter[tuple[str, str]] = Counter()
    for video in videos:
        kept = sum(verdict.keep for verdict in verdicts(asdict(video), gates))
        counts["label", "fake" if video.label else "real"] += kept
        if video.label:
            counts["method", str(video.method)] += kept
    return counts


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [(), ("gates.pairs=own",), ("gates.mode=mark", "gates.blur=null"), ("gates.brightness=null", "gates.min_face=30")],
    ids=lambda options: " ".join(options) or "plan",
)
def test_printed_counts_are_those_of_the_gates(seed: int, options: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out"
    videos = build(out, seed, *options)
    before = load("plan", options).gates
    for keep, move, stricter in ((0.9, (), False), (1.0, ("confidence", "blur"), False), (0.6, (), True)):
        found = propose(str(out), keep, move=move, stricter=stricter)
        assert found.choices[0].name == "now"
        for choice in found.choices:
            counts = {key: count for key, count in choice.kept.items() if key[0] in ("label", "method")}
            assert counts == dict(recounted(videos, choice.settings, options)), choice.settings
            gates = load("plan", [*options, *choice.settings]).gates
            if not stricter:
                assert gates.confidence <= before.confidence
                assert (gates.blur or 0) <= (before.blur or 0)
                assert before.brightness is None or gates.brightness[0] <= before.brightness[0]
            else:
                assert gates.blur is None or before.blur is not None, "a gate that is off stays off"
        fixed = {key: None for key in ("confidence", "min_face", "brightness", "face_ratio", "blur") if key in move}
        fixed = fixed or dict.fromkeys(("min_face", "brightness", "face_ratio", "blur"))
        base = recounted(videos, tuple(f"gates.{key}=null" for key in fixed), options)
        assert found.base == {name: base["label", name] for name in ("real", "fake")}
        for label, faces in found.base.items():
            assert found.choices[-1].kept["label", label] >= keep * faces - 1e-9, "together they keep too little"
        for one in found.proposals:
            assert all(share >= keep - 1e-9 for share in one.keeps_alone.values()) or not one.moves


def test_limits_are_looser_for_a_larger_share(tmp_path: Path) -> None:
    build(tmp_path / "out", 7)
    limits: dict[str, list[float]] = {}
    kept = []
    for keep in (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0):
        found = propose(str(tmp_path / "out"), keep, stricter=True)
        kept.append(found.choices[-1].kept["label", "real"])
        for one in found.proposals:
            for kind, limit in (("alone", one.alone), ("together", one.together)):
                assert limit is not None
                limits.setdefault(f"{one.name} {kind}", []).append(-limit if one.name.endswith("high") else limit)
    assert kept == sorted(kept)
    for name, values in limits.items():
        assert values == sorted(values, reverse=True), name


def test_the_command_prints_what_its_json_says(tmp_path: Path, run: Run) -> None:
    out, to = tmp_path / "out", tmp_path / "found.json"
    build(out, 3)
    said = run("quality", "thresholds", out, "--keep", 0.8, "--json", to).stdout
    found = json.loads(to.read_text())
    assert json.loads(run("quality", "thresholds", out, "--keep", 0.8, "--json", "-").stdout) == found
    settings = " ".join(f"--set '{one}'" if "[" in one else f"--set {one}" for one in found["settings"])
    seen = {one["group"]: one["faces"] for one in found["groups"] if one["by"] == "label"}
    base = ", ".join(f"{count:,} of {seen[name]:,} {name}" for name, count in found["base"].items())
    share = f"80% of each label's faces that pass the gates that stay ({base})"
    assert f"to keep at least {share}: ingest build ... {settings} --out NEW (" in said
    (smallest,) = (one["together"] for one in found["proposals"] if one["name"] == "min_face")
    assert found["searched"] > smallest, "the detector looked for smaller faces: choose another seed"
    assert f"--set detect.min_face={int(smallest)};" in said
    assert load("plan", [f"detect.min_face={found['search']}"])
    assert load("plan", found["settings"])
    for choice in found["choices"]:
        for one in choice["kept"]:
            assert f"{one['kept']:,} (" in next(
                line for line in said.splitlines() if f"{one['by']}: {one['group']} " in line
            )
    assert "are kept or rejected with the face of their original" in said
    assert "stay the defaults" in said


def test_a_choice_that_tells_the_label_is_named(tmp_path: Path, run: Run) -> None:
    """All fakes are a little softer: under ``pairs: own`` one limit keeps the reals and rejects the fakes."""
    out = tmp_path / "out"

    def make(row: dict[str, Any]) -> Outcome:
        made = outcome(row, GatesConfig(**dict.fromkeys(GATES), pairs="own"))
        rows = [dict(sample.row) | {"blur": 45.0 if row["label"] else 55.0} for sample in made.samples]
        if not row["label"]:
            return Outcome(video=made.video, samples=tuple(Sample(row=one, picture=PICTURE) for one in rows))
        video = dict(made.video) | {"crops_kept": 0, "crops_rejected": len(rows)}
        why = {"unit": "face", "stage": "gate", "reasons": ["blur"], "reason": "blur", "measured": 45.0, "limit": 50.0}
        for one in rows:
            del one["verdict"], one["mask"]
        return Outcome(video=video, rejections=tuple(Rejection(row=one | why) for one in rows))

    off = [f"gates.{key}=null" for key in GATES[:-1]]
    synthetic.build(out, planned(12, 1), "split.protocol=family", "gates.pairs=own", *off, make=make)
    found = propose(str(out), 0.9)
    assert [choice.verdict for choice in found.choices] == ["told", "even", "even"]
    assert "warning: now tells the label: it keeps 100.0%" in run("quality", "thresholds", out).stdout
    few = propose(str(out), 0.9, move=("blur",))
    assert few.settings == ("gates.blur=44.9",)


@pytest.mark.parametrize(
    ("options", "keep"),
    [(("gates.mode=mark",), 0.9), (("gates.pairs=own", "faces=largest"), 0.95)],
    ids=["together, all marked", "own, the largest"],
)
def test_a_build_with_the_printed_limits_keeps_the_printed_faces(
    options: tuple[str, ...], keep: float, shared: Path, tmp_path: Path
) -> None:
    """Real clips, among them a face swap beside an untouched face: built, proposed, built again."""
    table = tmp_path / "table.csv"
    wanted = ("path", "duo_orig", "duo_swap", "dance_orig", "dance_swap_a", "three_walk", "tilt_two")
    lines = (shared / "clips" / "table.csv").read_text().splitlines()
    table.write_text("\n".join(line for line in lines if any(name in line for name in wanted)) + "\n")
    settings = [f"source.table={table}", "sampling.n=4", "split.fractions=[0.5,0.25,0.25]", *options]

    def kept(*more: str) -> tuple[str, Counter[str]]:
        plan = make_plan("folder", str(shared / "clips"), load("plan", [*settings, *more]))
        out = str(tmp_path / f"out{len(list(tmp_path.iterdir()))}")
        in_process.build(plan, out)
        rows = manifests.scan(out).filter(pl.col("verdict") == "keep").collect()
        return out, Counter("fake" if label else "real" for label in rows["label"])

    out, now = kept()
    found = propose(out, keep)
    assert found.settings
    told = [{group: count for (by, group), count in choice.kept.items() if by == "label"} for choice in found.choices]
    assert told[0] == {"real": now["real"], "fake": now["fake"]}
    for choice, counts in list(zip(found.choices, told, strict=True))[-2:]:
        assert kept(*choice.settings)[1] == counts, choice.settings


def test_bad_input_is_refused_in_a_sentence(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    videos = planned(4, 1)
    nothing = partial(synthetic.outcome, frames=0, size=300)
    synthetic.build(out, videos, "split.protocol=family", make=nothing)
    with pytest.raises(SemblanceError, match="has no faces that a gate could judge"):
        propose(str(out))
    for keep in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(UsageError, match="above 0 and up to 1"):
            propose(str(out), keep)
    with pytest.raises(UsageError, match="no gate 'sharpness'; choose from confidence, min_face"):
        propose(str(out), move=("sharpness",))
    (out / "dataset.json").unlink()
    assert "is not finished" in run("quality", "thresholds", out, expect=1).stderr
    assert "is not a build" in run("quality", "thresholds", tmp_path / "nothing", expect=1).stderr
    again = tmp_path / "again"
    synthetic.build(again, videos, "split.protocol=family", "recompress.crf=40")
    assert "encoded once more" in run("quality", "thresholds", again, expect=1).stderr
    largest = tmp_path / "largest"
    synthetic.build(largest, videos, "split.protocol=family", "faces=largest")
    assert "which face is the largest" in run("quality", "thresholds", largest, "--gate", "confidence", expect=2).stderr
