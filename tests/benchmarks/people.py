"""People estimated from faces, against the truth: ``python -m tests.benchmarks.people`` writes PEOPLE.md beside it.

dlib's network really runs on builds of the sample collections. The simulation has the size of DFDC. Figures of time are
of the machine that ran it.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from semblance.ingest import plan, recipe
from semblance.manifests import tables
from semblance.quality.people import clusters, links, table
from semblance.quality.people.calibration import leaking, point_means
from semblance.quality.people.clusters import NOBODY, Clusters, Points, centred, cluster, linked, settled
from semblance.quality.people.embedders import door
from semblance.quality.people.embedders.door import Distances, Embedder
from semblance.quality.people.run import Wish, judged
from semblance.quality.people.vectors import Faces, embed
from tests.conftest import REPOSITORY
from tests.ingest import in_process
from tests.quality.people import simulated

SHARED: Final = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
PAGE: Final = Path(__file__).with_name("PEOPLE.md")
SETS: Final = {"celebdf": "data/celebdf", "dfdc": "data/dfdc", "ffpp": "data/ffpp", "folder": "clips"}
# Real clips of these collections are soft; who is in them is asked here, not whether they would train a detector.
SETTINGS: Final = ["sampling.n=8", "gates.blur=1"]
PEOPLE, CLIPS, HARD = 486, 19_154, 0.15  # DFDC's reals


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Real:
    """The faces of some builds, and the true person of each."""

    name: str
    faces: Faces
    planned: pl.DataFrame
    truth: list[str]


def builds(folder: Path) -> dict[str, str]:
    """A build of each sample collection below ``folder``, made if it is missing."""
    found = {}
    for dataset, where in SETS.items():
        out = folder / dataset
        settings = [*SETTINGS, *(["source.table=table.csv"] if dataset == "folder" else [])]
        if not (out / "dataset.json").is_file():
            in_process.build(plan.make(dataset, str(SHARED / where), recipe.load("plan", settings)), str(out))
        found[dataset] = str(out)
    return found


def true_people(dataset: str, out: str, faces: pl.DataFrame) -> list[str]:
    """The person of each face of one build: by its place from left to right where a video shows several."""
    paths = dict(tables.read_plan(out).select("video_id", "path").iter_rows())
    if dataset == "folder":
        return _of_clips(out, paths, faces)
    csv = pl.read_csv(SHARED / SETS[dataset] / "truth.csv")
    shown = dict(csv.select("path", "persons").iter_rows())
    samples = tables.scan(out).group_by("video_id", "person").agg(pl.col("box_x0").mean()).collect()
    left = {(video, person): x for video, person, x in samples.iter_rows()}
    found = []
    for video, person in keys(faces):
        people = shown[paths[video]].split("+")
        found.append(people[0] if len(people) == 1 else people[_place(left, video, person, len(people))])
    return found


def _of_clips(out: str, paths: dict[str, str], faces: pl.DataFrame) -> list[str]:
    """The person of each face of the hard clips: who was seen nearest in time and place, by most of its crops.

    A name holds within its clip; the dancer and the elder man are in several.
    """
    seen: dict[str, list[tuple[int, float, float, str]]] = {}
    for file, text in pl.read_csv(SHARED / "clips" / "clips.csv").select("file", "seen").iter_rows():
        for one in (text or "").split("; "):
            name, *spots = one.split(" ")
            called = name if name in ("dancer", "elder") else f"{file}-{name}"
            for frame, x, y in (re.split("[@:]", spot) for spot in spots):
                seen.setdefault(f"videos/{file}", []).append((int(frame), float(x), float(y), called))
    rows = (
        tables.scan(out).select("video_id", "person", "frame_index", "box_x0", "box_y0", "box_x1", "box_y1").collect()
    )
    votes: dict[tuple[str, int], Counter[str]] = {}
    for video, person, frame, x0, y0, x1, y1 in rows.iter_rows():
        near = sorted(
            (abs(spot[0] - frame) > 8, abs(spot[1] - (x0 + x1) / 2) + abs(spot[2] - (y0 + y1) / 2), spot[3])
            for spot in seen.get(paths[video], [])
        )
        votes.setdefault((video, person), Counter())[near[0][2] if near else f"{video}-{person}"] += 1
    return [votes[key].most_common(1)[0][0] for key in keys(faces)]


def keys(faces: pl.DataFrame) -> list[tuple[str, int]]:
    return list(faces.select("video_id", "person").iter_rows())


def _place(left: dict[tuple[str, int], float], video: str, person: int, count: int) -> int:
    """The place of a person from left to right; by the middle of the frame if not all were kept."""
    order = sorted((x, number) for (name, number), x in left.items() if name == video)
    if len(order) == count:
        return [number for _, number in order].index(person)
    return int(left[video, person] > 1920 / 2)


def pairs(real: Real, found: Any) -> str:
    """Pairs of faces of different videos: joined rightly and wrongly, against the truth."""
    rows = found.rows.filter(pl.col("crops") > 0).sort("dataset", "video_id", "person")
    order = sorted(range(len(real.truth)), key=lambda n: real.faces.rows.select("dataset", "video_id", "person").row(n))
    truth = np.array([real.truth[n] for n in order])
    name = np.array([row or f"-{n}" for n, row in enumerate(rows["person_estimated"])])
    i, j = np.triu_indices(len(truth), 1)
    same, joined = truth[i] == truth[j], name[i] == name[j]
    return (
        f"{len(set(truth))} | {found.about['counts']['people']} | {int((same & ~joined).sum())} of {int(same.sum())} | "
        f"{int((~same & joined).sum())} of {int((~same).sum())}"
    )


def withheld(real: Real) -> pl.DataFrame:
    """The plan as if no ids, recordings or families of reals were known: faces alone decide."""
    return real.planned.with_columns(
        pl.lit(None, pl.String).alias(name) for name in ("known", "donor_known", "recording_id")
    )


def leaks(real: Real, embedder: Embedder, abstain: int) -> tuple[str, str]:
    """Test clips whose true person is in train: clips drawn one by one, and people drawn by cluster."""
    tied = links.links(real.faces.rows, withheld(real))
    assert embedder.distances is not None
    vectors, done = centred(point_means(real.faces.vector_ND, tied.point_N), embedder.distances.raw)
    cuts = embedder.distances
    if not done:
        cuts = Distances(linkage=cuts.raw, attach=cuts.raw, quarantine=cuts.raw, raw=cuts.raw)
    clips = table.clips_of(tied, real.faces, withheld(real))
    points = Points(vector_ND=vectors, clips_N=clips, known=tied.known_P, apart_K2=tied.apart_K2)
    after = leaking(points, cluster(points, cuts, abstain), real.truth, cuts)
    before = leaking(points, each_alone(points), real.truth, none(cuts))
    return f"{before.share:.1%}", f"{after.share:.1%} [{after.low:.1%}, {after.high:.1%}], {after.lost:.1%} left out"


def each_alone(points: Points) -> Clusters:
    """Every clip a person of its own: a split that knows nobody."""
    count = len(points.vector_ND)
    return Clusters(label_N=np.arange(count), how=["cluster"] * count, mean_CD=points.vector_ND, small=False)


def drawn(who: np.ndarray[Any, Any]) -> float:
    """The share of test clips whose person is in train, if 10 % of the clips are drawn for test and 80 % for train."""
    side = np.random.default_rng(0).choice(3, len(who), p=(0.1, 0.1, 0.8))
    return float(np.isin(who[side == 0], who[side == 2]).mean())


def none(cuts: Distances) -> Distances:
    return cuts.model_copy(update={"quarantine": 1e-9})


def measured(folder: Path) -> Iterator[str]:
    """Rows of the table on real clips."""
    embedder = door.load("dlib")
    made = builds(folder)
    reals = []
    for dataset, out in made.items():
        faces = embed([out], partial(door.load, "dlib"), 5)
        planned = links.videos([tables.read_plan(out)])
        reals.append(Real(name=dataset, faces=faces, planned=planned, truth=true_people(dataset, out, faces.rows)))
    three = reals[:3]
    together = Real(
        name="celebdf + dfdc + ffpp",
        faces=Faces(
            rows=pl.concat([one.faces.rows.with_columns(build=pl.lit(n, pl.Int32)) for n, one in enumerate(three)]),
            vector_ND=np.concatenate([one.faces.vector_ND for one in three]),
            halves_N2D=np.concatenate([one.faces.halves_N2D for one in three]),
        ),
        planned=pl.concat([one.planned.with_columns(build=pl.lit(n, pl.Int32)) for n, one in enumerate(three)]),
        truth=[name for one in three for name in one.truth],
    )
    for real in (*reals, together):
        for what, planned in (("as used", real.planned), ("faces alone", withheld(real))):
            found = judged(real.faces, planned, embedder, Wish())
            shares = leaks(real, embedder, 4) if what == "faces alone" else ("", "")
            counted = f"{real.faces.rows.height} | {pairs(real, found)}"
            yield f"| {real.name} | {what} | {counted} | {shares[0]} | {shares[1]} |"


def simulation(people: int, clips: int, *, bad: float, alike: float) -> Iterator[str]:
    """Rows of the simulation: how far hard clips lie from their person, and how much those of one person agree."""
    shown = simulated.crowd(people, clips, HARD, seed=0, bad=bad, alike=alike)
    vectors, _ = centred(shown.vectors, simulated.DISTANCES.raw)
    count = len(vectors)
    points = Points(
        vector_ND=vectors,
        clips_N=np.ones(count, np.int64),
        known=[None] * count,
        apart_K2=np.zeros((0, 2), np.int64),
    )
    truth = [str(who) for who in shown.who]
    some = np.arange(min(count, 3000))
    i, j = np.triu_indices(len(some), 1)
    distance = 1 - (vectors[some] @ vectors[some].T)[i, j]
    same = shown.who[i] == shown.who[j]
    missed = float((distance[same] > simulated.DISTANCES.linkage).mean())
    rows: Sequence[tuple[str, int, Distances]] = (
        ("clusters alone", 1, none(simulated.DISTANCES)),
        ("small clusters abstain", 4, none(simulated.DISTANCES)),
        ("abstention and quarantine", 4, simulated.DISTANCES),
    )
    yield f"| {bad:g}, {alike:g} | {missed:.1%} | none: clips are drawn | | {drawn(shown.who):.1%} | 0.0% | |"
    start = time.process_time()
    by_linkage = linked(points, simulated.DISTANCES.linkage)
    seconds = time.process_time() - start
    for name, least, cuts in rows:
        found = settled(points, by_linkage, cuts, least)
        leak = leaking(points, found, truth, cuts)
        lost = int((found.label_N == NOBODY).sum())
        made_of = f"{len(found.mean_CD)} ({lost} abstained)"
        share = f"{leak.share:.1%} [{leak.low:.1%}, {leak.high:.1%}]"
        made = f"| {bad:g}, {alike:g} | {missed:.1%} | {name} | {made_of}"
        yield f"{made} | {share} | {leak.lost:.1%} | {seconds:.0f} s |"


def page(folder: Path) -> str:
    """The page of all measurements."""
    real = "\n".join(measured(folder))
    rows = [row for bad, alike in ((1.3, 0.0), (1.3, 0.6)) for row in simulation(PEOPLE, CLIPS, bad=bad, alike=alike)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    cuts = door.load("dlib").distances
    return _PAGE.format(
        real=real,
        simulated="\n".join(rows),
        people=PEOPLE,
        clips=CLIPS,
        memory=memory,
        cores=os.cpu_count(),
        machine=platform.machine(),
        cuts=cuts,
        few=clusters.FEW,
    )


_PAGE: Final = """\
# People estimated from faces: measurements

Made by `python -m tests.benchmarks.people` ({cores} cores, {machine}); see [people](../../docs/people.md).

## Real clips, dlib's network

The sample collections show few people, some in several collections as other encodings of the same recordings, so that
this is an easy test. Limits on sharpness are off, 8 frames a video, 5 crops a person. *As used*: with all ids and
recordings that the dataset gives. *Faces alone*: without them. A pair is two faces of the set. Leaks: share of test
clips whose true person is in train, over 100 drawn splits (10 % test, 10 % val). *Before*: clips are drawn one by one.
*After*: by estimated people, with quarantine. Sets of fewer than {few} people are not centred and use `raw`. Distances:
{cuts}.

| set | | faces | people | estimated | pairs missed | pairs joined wrongly | leak before | leak after |
|---|---|---|---|---|---|---|---|---|
{real}

`folder` are the hard clips of real footage, too few to be centred: some of their people are in two clusters, and the
distance for such sets is the weakest part of the method.

## Simulation at the size of DFDC

{people} people, {clips:,} clips, 15 % of them hard: the noise of an ordinary clip is half as long as its person's
vector, that of a hard one as long as the first number says. The second number is the share of this noise that all hard
clips of one person have in common. Linkage, attach and quarantine are at a cosine distance of 0.5.

| hard noise, in common | pairs missed | protocol | clusters | test clips that leak | left out | linkage |
|---|---|---|---|---|---|---|
{simulated}

Peak memory: {memory:.1f} GiB. Pair errors say little: clusters alone leak although few pairs are missed. Where hard
clips have nothing in common, abstention ends the leak. Where those of one person look alike they form a second large
cluster, which abstention cannot see, and of which the quarantine catches a part.
"""


def main() -> None:
    """Measure everything and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(page(Path(os.environ.get("SEMBLANCE_BUILDS", folder))), encoding="utf-8")
    print(f"{PAGE.relative_to(REPOSITORY)} is written")


if __name__ == "__main__":
    main()
