"""Wrong labels, planted and sought: ``python -m tests.benchmarks.label_noise`` writes ``LABEL_NOISE.md`` beside it.

2 % of the videos of a build get the other label, and the list of `quality flag` is made again from it, some hundred
times with other videos. Precision at k: of the first k on the list, the share of those planted. A video with a wrong
label has no original and so no ``change_peak``: as a collection whose table is wrong would have it.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.ingest import plan as planning
from semblance.ingest import recipe as recipes
from semblance.ingest.demo import dataset as demo
from semblance.manifests import scan
from semblance.quality import codec
from semblance.quality.checks import doubtful, linear, video_features
from semblance.quality.checks.picture_features import features
from tests.ingest import in_process
from tests.quality import photographs as photograph

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("LABEL_NOISE.md")
WRONG: Final = 0.02
DRAWS: Final = 100
QUALITIES: Final = (20, 30, 40, 50, 60)  # of the JPEG that stands for a forgery: the higher, the fainter
SETTINGS: Final = ("sampling.n=6", "split.protocol=family")
Peaks = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Means over the draws; ``said``: the share of draws in which the model was good enough to say anything."""

    videos: int
    families: int
    planted: int
    auc: float
    said: float
    at_planted: float  # precision among the first k = planted
    at_twice: float  # precision among the first 2 k
    found: float  # share of the planted that are on the list at all
    listed: float  # length of the list


def measure(
    table: pl.DataFrame, values: NDArray[np.float64], *, draws: int = DRAWS, peaks: Peaks | None = None
) -> Precision:
    """``table``: video_id, label and family_id, one row for each of ``values``."""
    count = max(round(WRONG * table.height), 1)
    rows = []
    for draw in range(draws):
        wrong = np.random.default_rng(draw).choice(table.height, count, replace=False)
        rows.append(_one(table, values, wrong, peaks or {}))
    auc, said, at_planted, at_twice, found, listed = np.mean(rows, axis=0).tolist()
    return Precision(
        videos=table.height,
        families=table["family_id"].n_unique(),
        planted=count,
        auc=auc,
        said=said,
        at_planted=at_planted,
        at_twice=at_twice,
        found=found,
        listed=listed,
    )


def _one(table: pl.DataFrame, values: NDArray[np.float64], wrong: NDArray[np.int64], peaks: Peaks) -> tuple[float, ...]:
    names = table["video_id"].to_list()
    labels = table["label"].cast(pl.Int64).to_numpy().copy()
    labels[wrong] = 1 - labels[wrong]
    planted = {names[place] for place in wrong}
    families = [f"alone {name}" if name in planted else f for name, f in zip(names, table["family_id"], strict=True)]
    claimed = pl.DataFrame({"video_id": names, "label": labels})
    told = linear.told(values, labels, families)
    speaks = bool(doubtful.scored("the light model", claimed, told, 0).scores)
    scores = linear.calibrated(told.scores, labels).tolist() if len(told.scores) else []
    known = {name: peak for name, peak in peaks.items() if name not in planted}
    ranked = doubtful.rank(dict(claimed.iter_rows()), dict(zip(names, scores, strict=False)), (), known)
    hits = [one.video_id in planted for one in ranked]
    k = len(planted)
    return (
        told.auc or math.nan,
        speaks,
        sum(hits[:k]) / k,
        sum(hits[: 2 * k]) / 2 / k,
        sum(hits) / k,
        len(hits),
    )


def photographs(families: int, quality: int) -> tuple[pl.DataFrame, NDArray[np.float64]]:
    """A piece of a real photograph a family, and one whose box was a JPEG of ``quality`` once more: the forgery."""
    rows, values = [], []
    for number in range(2 * families):
        image = photograph.kind_of(number // 2)
        if number % 2:
            left, top, right, bottom = (int(end) for end in photograph.BOX)
            inside = slice(top, bottom), slice(left, right)
            image[inside] = codec.degrade(image, quality)[inside]
        found = features(image, ("face", "outside"), photograph.BOX, photograph.ALL)
        assert found is not None
        values.append(doubtful.beside(found))
        rows.append({"video_id": f"v{number}", "label": number % 2, "family_id": f"f{number // 2}"})
    return pl.DataFrame(rows), np.stack(values)


def of_build(out: str) -> tuple[pl.DataFrame, NDArray[np.float64], Peaks]:
    """The videos of a build with kept crops, their statistics, and the ``change_peak`` of its fakes."""
    videos = scan(out, "videos").filter(pl.col("label").is_not_null() & (pl.col("crops_kept") > 0))
    table = videos.select("video_id", "label", "family_id").collect().sort("video_id")
    seen = video_features.of_videos(out, table["video_id"].to_list(), ("face", "outside")).values
    table = table.filter(pl.col("video_id").is_in(list(seen)))
    fakes = scan(out, flags=False).filter((pl.col("label") == 1) & (pl.col("verdict") == "keep"))
    peaks = fakes.group_by("video_id").agg(pl.col("change_peak").median()).drop_nulls().collect()
    return table, np.stack([doubtful.beside(seen[name]) for name in table["video_id"]]), dict(peaks.iter_rows())


def builds(shared: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """(name, build) of the demo and of each sample collection, built here."""
    demo.write(str(folder / "demo"))
    roots = [("demo", "dfdc", folder / "demo")]
    roots += [
        (name, name, shared / "data" / name) for name in ("ffpp", "celebdf", "dfdc") if (shared / "data").is_dir()
    ]
    for name, dataset, root in roots:
        out = str(folder / f"out-{name}")
        in_process.build(planning.make(dataset, str(root), recipes.load("plan", SETTINGS)), out)
        yield name, out


def lines(sets: Mapping[str, tuple[pl.DataFrame, NDArray[np.float64], Peaks]]) -> Iterator[str]:
    """The table's rows: each set with and without what ``change_peak`` says."""
    for name, (table, values, peaks) in sets.items():
        for words, known in (("the model alone", {}), ("with change_peak", peaks)):
            one = measure(table, values, peaks=known)
            auc = "too few families" if math.isnan(one.auc) else f"{one.auc:.2f}"
            shares = (one.at_planted, one.at_twice, one.found)
            cells = (
                *(name, words, f"{one.videos}", f"{one.families}", auc, f"{one.said:.0%}", f"{one.planted}"),
                *(f"{share:.0%}" for share in shares),
                f"{one.listed:.1f}",
            )
            yield "| " + " | ".join(cells) + " |"
            if not peaks:
                break


INTRODUCTION: Final = f"""# Planted wrong labels

Made by `python -m tests.benchmarks.label_noise`: {WRONG:.0%} of the videos get the other label, {DRAWS} times, others
each time. *AUC*: of the light model, out of fold, with the wrong labels in it. *Speaks*: how often its lower 95 %
bound exceeds {doubtful.USEFUL}; else `quality flag` doubts no label by it, and the list is shown here all the same.
*k*: as many are planted. By chance, precision would be {WRONG:.0%}. With `change_peak`, fakes that were clearly
changed are cleared. The list holds at most {doubtful.SHARE:.0%} of the videos by the model alone.

The sample collections are small and their forgeries simulated; `demo` is made of one photograph. `photographs` are
pieces of four real photographs without people, as four cameras would compress them, whose forgery is a JPEG of the
inner part: they show what a list is worth whose model is as good as that.

| set | evidence | videos | families | AUC | speaks | k | precision at k | at 2k | planted on list | length of list |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    shared = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        made = [pair.split("=", 1) for pair in sys.argv[1:]] or builds(shared, Path(folder))  # NAME=OUT
        sets = {name: of_build(out) for name, out in made}
    together = [name for name in sets if name != "demo"]
    if len(together) > 1:
        tables, values, peaks = zip(*(sets[name] for name in together), strict=True)
        joined = {name: peak for one in peaks for name, peak in one.items()}
        sets[" + ".join(together)] = pl.concat(tables), np.concatenate(values), joined
    for quality in QUALITIES:
        sets[f"photographs, JPEG {quality}"] = *photographs(300, quality), {}
    page = INTRODUCTION
    for line in lines(sets):
        print(line, flush=True)
        page += line + "\n"
    TABLE.write_text(page)
    print(f"{TABLE.relative_to(REPOSITORY)} is written")


if __name__ == "__main__":
    main()
