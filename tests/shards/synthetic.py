"""Builds without videos: random outcomes committed as a build would, in milliseconds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import polars as pl

from semblance.ingest import recipe as recipes
from semblance.ingest.run import describe
from semblance.manifests import schema, splits
from semblance.manifests.config import fingerprint
from semblance.manifests.datasets import Datasheet
from semblance.manifests.ids import make_sample_id
from semblance.manifests.records import Outcome, Rejection, Sample, SourceFinding, Video
from semblance.manifests.storage import Stat
from semblance.shards import build_folder, write
from semblance.shards.card import card, counts, found_leaks
from semblance.shards.plan import assign_shards

Make = Callable[[dict[str, Any]], Outcome]
Change = Callable[[pl.DataFrame], pl.DataFrame]
NATURE = splits.DatasetTraits(basis="person")


class Planned:
    """What claims the folder."""

    def __init__(self, table: pl.DataFrame, dataset: str) -> None:
        self.rows = table.to_dicts()
        self.inputs = [Stat(path="a.mp4", bytes=1, version="1")]
        self.findings = [SourceFinding(path="notes.txt", kind="other", reason="no video")]
        self.parts: dict[str, Any] = {"dataset": dataset, "inputs": "x", "plan": str(self.rows)}
        self.fingerprint = fingerprint(self.parts)


def build(
    out: Path,
    videos: Sequence[Video],
    *settings: str,
    frames: int = 3,
    size: int = 300,
    nature: splits.DatasetTraits = NATURE,
    make: Make | None = None,
    change: Change | None = None,
) -> pl.DataFrame:
    """A finished build of ``videos`` at ``out``: about ``frames`` faces each, some marked, rejected or masked, or what
    ``make`` gives for a row of the plan. ``change`` plants faults in the plan before anything is written.
    """
    recipe = recipes.load("plan", ["split.fractions=[0.5,0.25,0.25]", *settings])
    dataset = videos[0].dataset
    assigned = splits.assign(splits.plan_frame(videos), recipe.split, recipe.seed, nature)
    table = assign_shards(
        assigned.table if change is None else change(assigned.table),
        recipe.shards,
        dataset=dataset,
        bytes_per_video=frames * (size + 2500),
        seed=recipe.seed,
    )
    plan = Planned(table, dataset)
    build_folder.claim(plan, str(out))
    for (shard,), rows in table.group_by("shard", maintain_order=True):
        outcomes = [outcome(row, frames, size) if make is None else make(row) for row in rows.iter_rows(named=True)]
        write.seal(
            str(out),
            str(shard),
            outcomes,
            fingerprint=plan.fingerprint,
            seed=recipe.seed,
            picture_extension=recipe.encoding.extension,
        )
    description = {
        "dataset": dataset,
        "fingerprint": plan.fingerprint,
        "split": assigned.protocol,
        "synthetic": False,
        "recipe": recipe.model_dump(mode="json"),
        "versions": describe.versions(),
        "complete": True,
        "counts": counts(str(out), masks=False),
        "datasheet": {field.name: "Invented for a test." for field in fields(Datasheet)},
        "identity_note": "These people do not exist.",
        "facts": ["videos that do not exist: all"],
        "protocols": asdict(assigned.notes),
        "leaks": found_leaks(str(out), assigned.protocol, recipe.split.against),
    }
    build_folder.finish(str(out), description, card(description))
    return table


def outcome(row: dict[str, Any], frames: int, size: int) -> Outcome:
    """Random faces of one video, the same for the same video: kept, marked (kept and rejected), or rejected."""
    chance = random.Random(row["video_id"])
    identity = {name: row[name] for name in row if name in schema.SAMPLES.names and name in schema.REJECTS.names}
    identity.pop("shard")
    samples, rejections, seen, kept = [], [], 0, 0
    for frame in range(0 if row["fault"] else chance.randint(0, 2 * frames)):
        face = identity | {"frame_index": 10 * frame, "time_s": frame / 7, "guide": None}
        if chance.random() < 0.1:
            lost = {"unit": "frame", "stage": "detect", "reasons": ["no_face"], "reason": "no_face"}
            rejections.append(Rejection(row=face | lost))
            continue
        seen += 1
        track = chance.randint(0, 1)
        face |= {
            "sample_id": make_sample_id(row["video_id"], 10 * frame, track),
            "track": track,
            "face_label": row["label"] if chance.random() < 0.8 or row["label"] == 0 else None,
            "blur": chance.random() * 100,
            "confidence": chance.random(),
            "landmarks": [chance.random() * 100 for _ in range(10)],
            "phash": chance.getrandbits(64),
        }
        verdict = chance.choice(["keep", "keep", "keep", "marked", "gone"])
        kept += verdict == "keep"
        if verdict != "gone":
            masked = row["label"] == 1 and chance.random() < 0.5
            samples.append(
                Sample(
                    row=face | {"verdict": "keep" if verdict == "keep" else "blur", "mask": masked},
                    picture=b"\xff\xd8\xff" + chance.randbytes(chance.randint(1, size)),
                    mask=b"\x89PNG" + chance.randbytes(20) + b"\x08\x00" + chance.randbytes(9) if masked else None,
                )
            )
        if verdict != "keep":
            why = {"unit": "face", "stage": "gate", "reasons": ["blur", "dark"], "reason": "blur"}
            limit = {"measured": face["blur"], "limit": 50.0}
            picture = b"\xff\xd8\xff" + chance.randbytes(50) if chance.random() < 0.7 else None
            rejections.append(Rejection(row=face | why | limit, picture=picture))
    video = {name: row[name] for name in row if name in schema.VIDEOS.names}
    video |= {
        "status": row["fault"] or ("ok" if seen else "no_face"),
        "error": row["fault_note"],
        "frames_sampled": 2 * frames,
        "frames_failed": 0,
        "faces_seen": seen,
        "crops_kept": kept,
        "crops_rejected": seen - kept,
        "seconds_total": chance.random(),
    }
    return Outcome(video=video, samples=tuple(samples), rejections=tuple(rejections))


def people(chance: random.Random, families: int, dataset: str = "folder") -> list[Video]:
    """Families of a real and some fakes by three methods; people, recordings, dates and a published split at random."""
    videos = []
    persons = [f"{dataset}-person_{n}" for n in range(max(2, families // 2))]
    for family in range(families):
        real, target = f"{dataset}-real_{family}", chance.choice(persons)
        for number in range(chance.randint(1, 4)):
            fake = number > 0
            videos.append(
                Video(
                    video_id=real if not fake else f"{dataset}-fake_{family}_{number}",
                    path=f"{family}/{number}.mp4",
                    dataset=dataset,
                    label=int(fake),
                    method=f"method {number}" if fake else "pristine",
                    family_id=real,
                    target_id=target,
                    donor_id=chance.choice(persons) if fake else None,
                    recording_id=f"{dataset}-tape_{family // 2}",
                    split_official=chance.choice(["train", "train", "val", "test", None]),
                    date=f"2020-01-{family % 28 + 1:02d}",
                    fault="missing" if chance.random() < 0.05 else None,
                    fault_note=None,
                )
            )
    unlabelled = Video(video_id=f"{dataset}-x", path="x.mp4", dataset=dataset, family_id=f"{dataset}-x")
    return [*videos, unlabelled] if chance.random() < 0.5 else videos
