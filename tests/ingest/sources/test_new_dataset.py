"""A dataset that Semblance does not know, in one file: planned, built, exported and described, with nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from semblance.ingest import dates, plan
from semblance.ingest import recipe as recipes
from semblance.ingest.run.build import build
from semblance.ingest.run.log import Journal
from semblance.ingest.sources import SOURCES, base, register
from semblance.ingest.sources.base import IN_ROOT, Discovery, Source, SourceConfig
from semblance.manifests import scan, splits, storage
from semblance.manifests.datasets import DATASETS, DEFAULT, DatasetInfo, Datasheet, Labels, Release
from semblance.manifests.errors import UsageError
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import PRISTINE, Video
from semblance.manifests.storage import Stat
from semblance.shards.export import export


class ForgeryNet(Source):
    """``video_list.txt`` names every video, its label and its method: one line each."""

    info = DatasetInfo(
        name="forgerynet",
        datasheet=Datasheet(
            title="ForgeryNet, invented",
            homepage="https://example.org",
            citation="Nobody et al.",
            terms="Forbidden to everyone.",
            consent="Not reported.",
            known_leaks="None is known.",
            label_noise="None is known.",
        ),
        identity_note="Nobody is named.",
        fractions=(0.5, 0.25, 0.25),
        releases={DEFAULT: Release(date="2021-03-09", source="arXiv:2103.05630")},
        full={"videos": 221_247},
        labels={"deepfakebench": Labels(real={DEFAULT: "FN_real"}, fake={"swap": "FN_swap"})},
    )

    def discover(self, root: str, files: Sequence[Stat], config: SourceConfig = IN_ROOT) -> Discovery:
        del config
        sizes, findings = base.sift(files)
        lines = storage.read_bytes(storage.join(root, "video_list.txt")).decode().splitlines()
        videos = []
        for path, label, method, original in (line.split() for line in lines):
            videos.append(
                Video(
                    video_id=make_video_id(self.name, path),
                    path=path,
                    dataset=self.name,
                    label=int(label),
                    method=method if label == "1" else PRISTINE,
                    family_id=make_video_id(self.name, original),
                    bytes=sizes[path],
                )
            )
        unread = sizes.keys() - {video.path for video in videos} - {"video_list.txt"}
        return base.discovery(
            videos,
            [*findings, *base.others(unread)],
            {base.ORIGINAL_UNNAMED: 0},
            coverage=base.covered(self.info, {"videos": len(videos)}),
        )


@pytest.fixture
def forgerynet() -> Iterator[None]:
    register(ForgeryNet)
    yield
    SOURCES.remove("forgerynet")
    DATASETS.remove("forgerynet")


@pytest.fixture
def root(demo: Path, tmp_path: Path) -> Path:
    """The demo's videos under the invented layout."""
    folder = tmp_path / "forgerynet"
    folder.mkdir()
    lines = []
    for metadata in sorted(demo.rglob("metadata.json")):
        for name, row in json.loads(metadata.read_text()).items():
            shutil.copy(metadata.with_name(name), folder / name)
            label = int(row["label"] == "FAKE")
            lines.append(f"{name} {label} swap {row.get('original') or name}")
    (folder / "video_list.txt").write_text("\n".join(sorted(lines)))
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.mark.usefixtures("forgerynet")
def test_one_file_is_a_dataset(root: Path, tmp_path: Path) -> None:
    recipe = recipes.load("plan", ["sampling.n=2", "temporal.releases=true"])
    made = plan.make("forgerynet", str(root), recipe)
    assert made.recipe.split.fractions == (0.5, 0.25, 0.25)
    assert [(finding.path, finding.kind) for finding in made.findings] == [("notes.txt", "other")]
    assert made.discovery.coverage[0].full == 221_247
    assert {video.date for video in made.videos} == {"2021-03-09"}
    assert made.protocol == "family"
    out, to = tmp_path / "out", tmp_path / "export"
    with Journal(None) as journal:
        built = build(made, str(out), journal, workers=1)
    assert built.description["datasheet"]["terms"] == "Forbidden to everyone."
    card = (out / "CARD.md").read_text()
    assert card.startswith("# ForgeryNet, invented, prepared by Semblance")
    assert "Nobody is named." in card
    kept = scan(str(out)).filter(pl.col("verdict") == "keep", pl.col("face_label").is_not_null()).collect()
    done = export(str(out), "deepfakebench", str(to), everything=True)
    assert done.pictures.total() == kept.height > 0
    labels = json.loads((to / "dataset_json" / "forgerynet-semblance.json").read_text())["forgerynet-semblance"]
    assert set(labels) == {"FN_real", "FN_swap"}
    assert "label_dict" not in (to / "README.md").read_text()
    _, facts = splits.over_time([splits.plan_frame(_dated(made.videos))], (0.5, 0.25, 0.25))
    assert "forgerynet was released 2021-03-09 (arXiv:2103.05630)" in facts


def _dated(videos: Sequence[Video]) -> list[Video]:
    """The same videos, without a date, beside as many of two datasets with other releases."""
    found = []
    for dataset in ("forgerynet", "celebdf", "dfdc"):
        for one in videos:
            names: dict[str, Any] = {name: f"{dataset}-{getattr(one, name)}" for name in ("video_id", "family_id")}
            fields: dict[str, Any] = {
                name: getattr(one, name) for name in ("path", "label", "method", "shard", "split")
            }
            found.append(Video(dataset=dataset, **names, **fields))
    return found


def test_a_taken_name_and_a_forgotten_one_are_refused(root: Path) -> None:
    register(ForgeryNet)
    try:
        with pytest.raises(ValueError, match="already a dataset called 'forgerynet'"):
            register(ForgeryNet)
    finally:
        SOURCES.remove("forgerynet")
        DATASETS.remove("forgerynet")
    with pytest.raises(UsageError, match="Unknown dataset 'forgerynet'"):
        plan.make("forgerynet", str(root), recipes.load("plan"))
    video = Video(video_id="a", path="a", dataset="forgerynet", family_id="a")
    config = dates.TemporalConfig(releases=True)
    assert dates.dated([video], str(root), config)[1] == ("dates: no release date is known",)
