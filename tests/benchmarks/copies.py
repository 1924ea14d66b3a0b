"""What the audit finds of copies that were changed: ``python -m tests.benchmarks.copies`` writes
``tests/benchmarks/COPIES.md``.

Fourteen people, nineteen changes by ffmpeg, two parts of each recording without a common frame, and nine strangers.
Some ten minutes on two quiet cores.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import cv2
import polars as pl

from semblance.ingest import plan as planning
from semblance.ingest.recipe import Recipe
from semblance.manifests import scan
from semblance.quality.audit.result import Audit
from semblance.quality.audit.run import audit
from semblance.quality.duplicates.aligned_search import LEAST
from tests.benchmarks import changed_copies
from tests.benchmarks.changed_copies import CHANGES, MOMENTS
from tests.ingest import in_process

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("COPIES.md")
FFPP: Final = ("000", "003", "054", "071", "081", "087", "672", "720", "856", "881", "953", "974")
CELEBDF: Final = {"d11": "YouTube-real/00000.mp4", "d12": "Celeb-real/id6_0000.mp4"}
STRANGERS: Final = {
    "s13": "data/celebdf/YouTube-real/00001.mp4",
    "s20": "data/celebdf/Celeb-real/id4_0000.mp4",
    "s29": "data/celebdf/Celeb-real/id5_0000.mp4",
    **{
        name.replace("_", ""): f"clips/videos/{name}.mp4"
        for name in ("dance_orig", "kitchen_portrait", "pancake", "pillarbox_cuts", "profile_woman", "sofa")
    },
}
PREDICTED: Final = {  # by the faces that are searched
    1_000_000: "",
    4_000_000: "23 s of the processor, 1.5 GiB",
    10_000_000: "100 s of the processor, 3.2 GiB",
}
INTRODUCTION: Final = """# Copies that were changed

Made by `python -m tests.benchmarks.copies`: {people} people under {changes} changes
(`tests/benchmarks/changed_copies.py`), two parts of each recording without a common frame, and {strangers} strangers;
16 frames a clip, the plan's recipe. Each row is about the pairs of an original and its copy. *Five kept*, *five seen*:
both have five kept crops, or five faces of any verdict. *Found*: as near-duplicate or as one recording. *Before*: as
near-duplicate alone. *By hash*: of those with five seen, also without crops to confirm it.
"""
OTHER: Final = "other moments"
HEADS: Final = (
    "change",
    "pairs",
    "five kept",
    "found",
    "before",
    "five seen",
    "by hash",
    "least correlation",
    "fewest features",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An original and its copy, or two parts of it, and what the audit says of them."""

    change: str
    kept: int  # crops of the one with fewer
    seen: int  # faces
    kind: str | None  # near_duplicate or same_recording; None where it is not confirmed
    by_hash: bool
    likeness: float | None
    features: int | None
    how: str | None


def people(shared: Path) -> dict[str, Path]:
    """Fourteen people, a clip of two to three seconds of each."""
    youtube = shared / "data/ffpp/original_sequences/youtube/c23/videos"
    others = {name: shared / "data/celebdf" / path for name, path in CELEBDF.items()}
    return {f"p{name}": youtube / f"{name}.mp4" for name in FFPP} | others


def build(root: Path, out: Path, frames: int = 16, **changes: Any) -> None:
    """Build the collection at ``root`` with the plan's recipe."""
    recipe = {"source": {"table": "table.csv"}, "split": {"protocol": "official"}, "sampling": {"n": frames}}
    in_process.build(planning.make("folder", str(root), Recipe.model_validate(recipe | changes)), str(out))


def pairs(out: Path, found: Audit) -> Iterator[Pair]:
    """What became of each person's copies, and of the two parts of each recording."""
    assert found.recordings is not None
    copies = {(row["video"], row["other"]): row for row in found.builds[0].copies.to_dicts()}
    numbers = dict(enumerate(found.builds[0].build.plan.filter(pl.col("fault").is_null())["video_id"]))
    looked = {(numbers[row["a"]], numbers[row["b"]]): row for row in found.recordings.pairs.to_dicts()}
    videos = {row["video_id"]: row for row in scan(str(out), "videos").collect().to_dicts()}
    for name in videos:
        person, _, change = name.partition("_")
        if not change or change == "last_part":
            continue
        other = f"{person}_last_part" if change == "first_part" else person
        ends = min(name, other), max(name, other)
        ends = ends if ends in copies or ends in looked else (ends[1], ends[0])
        row, of_hash = copies.get(ends), looked.get(ends, {})
        yield Pair(
            change=OTHER if change == "first_part" else change.replace("_", " "),
            kept=min(videos[end]["crops_kept"] for end in ends),
            seen=min(videos[end]["faces_seen"] for end in ends),
            kind=None if row is None else row["kind"],
            by_hash=row is not None or bool(of_hash),
            likeness=of_hash.get("likeness"),
            features=of_hash.get("features"),
            how=of_hash.get("how"),
        )


def strangers(out: Path, found: Audit) -> tuple[int, int]:
    """Pairs of videos of two people, and those of them that are confirmed to be copies."""
    names = scan(str(out), "videos").select("video_id").collect()["video_id"]
    whose = [name.partition("_")[0] for name in names]
    wrong = sum(
        row["video"].partition("_")[0] != row["other"].partition("_")[0]
        for row in found.builds[0].copies.iter_rows(named=True)
    )
    return sum(a != b for a, b in combinations(whose, 2)), wrong


def table(rows: list[Pair]) -> Iterator[str]:
    """A row a change, and one of all of them together."""
    yield "| " + " | ".join(HEADS) + " |"
    yield "|" + "---|" * len(HEADS)
    for change in [*CHANGES, OTHER]:
        if some := [row for row in rows if row.change == change]:
            yield _line(change, some)
    yield _line("**all**", rows)
    yield ""


def _line(name: str, rows: list[Pair]) -> str:
    kept = [row for row in rows if row.kept >= LEAST]
    seen = [row for row in rows if row.seen >= LEAST]
    found = sum(row.kind is not None for row in kept)
    likeness = [row.likeness for row in kept if row.likeness is not None]
    features = [row.features for row in kept if row.features is not None]
    cells = (
        name,
        str(len(rows)),
        str(len(kept)),
        f"{found} = {found / len(kept):.3f}" if kept else "",
        str(sum(row.kind == "near_duplicate" for row in kept)),
        str(len(seen)),
        f"{sum(row.by_hash for row in seen)} = {sum(row.by_hash for row in seen) / len(seen):.3f}" if seen else "",
        f"{min(likeness):.2f}" if likeness else "",
        str(min(features)) if features else "",
    )
    return "| " + " | ".join(cells) + " |"


def scale() -> Iterator[str]:
    """The search for candidates among made-up hashes."""
    yield "## Candidates among millions of faces"
    yield ""
    yield "Made-up hashes as far apart as real ones (`tests/benchmarks/aligned_hashes.py`); 200 families are copied."
    yield "*Predicted*: written down before the first run of that size."
    yield ""
    yield "| faces | s | s of the processor | GiB | predicted | copied families found | pairs of others |"
    yield "|---|---|---|---|---|---|---|"
    for size, predicted in PREDICTED.items():
        command = [sys.executable, "-m", "tests.benchmarks.aligned_hashes", str(size)]
        said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY).stdout)
        figures = [f"{said['faces']:,}", said["seconds"], said["cpu_seconds"], said["gib"], predicted]
        found = [f"{said['found']} of {said['copies']}", said["other_families"]]
        yield "| " + " | ".join(map(str, [*figures, *found])) + " |"
    yield ""


def report(out: Path) -> Iterator[str]:
    """Audit the build of the changed copies, and say what was found."""
    started, worked = time.perf_counter(), time.process_time()
    found = audit([str(out)])
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    assert found.recordings is not None
    rows = list(pairs(out, found))
    yield "## Changes"
    yield ""
    yield from table(rows)
    total, wrong = strangers(out, found)
    compared = int(found.recordings.pairs["agreed"].is_not_null().sum()) + found.recordings.refuted
    yield (
        f"Of {total:,} pairs of two people {found.recordings.false_by_hash} match by the hashes of aligned faces, and "
        f"{wrong} are confirmed. The audit of all {found.builds[0].build.plan.height} clips against each other took "
        f"{seconds:.0f} s ({cpu:.0f} s of the processor); {compared:,} pairs were compared on aligned pixels."
    )
    yield ""
    said = {change: [row.how for row in rows if row.change == change and row.how] for change in CHANGES}
    most = [f"*{change}*: {statistics.mode(hows)}" for change, hows in said.items() if hows]
    yield f"As the audit says it, most often: {'; '.join(most)}."
    yield ""


def moments(out: Path) -> Iterator[str]:
    """Audit the build of the parts of each recording."""
    found = audit([str(out)])
    total, wrong = strangers(out, found)
    yield "## Other moments of one recording"
    yield ""
    yield from table(list(pairs(out, found)))
    yield f"Of {total:,} pairs of two people {wrong} are confirmed."
    yield ""


def main() -> None:
    shared = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
    if not (shared / "clips" / "table.csv").is_file():
        sys.exit(f"There are no clips at {shared / 'clips'}; name the sample collections with SEMBLANCE_SHARED.")
    cv2.setNumThreads(0)
    cast = people(shared)
    lines = [INTRODUCTION.format(people=len(cast), changes=len(CHANGES), strangers=len(STRANGERS))]
    with tempfile.TemporaryDirectory(prefix="semblance-copies-") as name:
        folder = Path(name)
        others = {stranger: shared / path for stranger, path in STRANGERS.items()}
        changed_copies.collect(cast, CHANGES, folder / "changes", distractors=others)
        build(folder / "changes", folder / "changed")
        lines += report(folder / "changed")
        changed_copies.collect(cast, MOMENTS, folder / "parts", distractors={})
        build(folder / "parts", folder / "moments")
        lines += moments(folder / "moments")
    lines += scale()
    TABLE.write_text("\n".join(lines))
    print(f"{TABLE.relative_to(REPOSITORY)} is written")


if __name__ == "__main__":
    main()
