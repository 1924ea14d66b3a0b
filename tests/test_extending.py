"""The files that docs/extending.md shows, dropped into their folders: each is found there and works."""

from __future__ import annotations

import importlib
import io
import random
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from semblance.ingest.sources import SOURCES
from semblance.manifests import storage
from semblance.manifests.datasets import DATASETS
from semblance.manifests.registry import Registry
from semblance.shards import read
from semblance.shards.export import FORMATS, export
from semblance.training import models, recipes
from semblance.training.metrics import registry
from semblance.training.metrics.registry import METRICS
from semblance.training.recipes import NAMED
from semblance.training.recipes.base import READINGS
from semblance.training.regimes import REGIMES
from semblance.training.runs import folder
from tests.conftest import REPOSITORY
from tests.shards import synthetic
from tests.shards.export.test_export import usable
from tests.training import builds, runs
from tests.training.metrics.test_metrics import rows

PAGE = (REPOSITORY / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^`(\S+\.py)`\n\n```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
REGISTRIES: tuple[Registry[Any], ...] = (SOURCES, DATASETS, FORMATS, METRICS, models.MODELS, NAMED, REGIMES)


@pytest.fixture
def dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, Any]]:
    """The page's modules by path, in folders of their own that belong to Semblance's packages for a test."""
    before = [set(one) for one in REGISTRIES]
    modules = {}
    for path, text in FILES.items():
        package, name = path.removesuffix(".py").rsplit("/", 1)
        parent = importlib.import_module(f"semblance.{package.replace('/', '.')}")
        folder = tmp_path / "dropped" / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        monkeypatch.setattr(parent, "__path__", [*parent.__path__, str(folder)])
        monkeypatch.setattr(parent, name, None, raising=False)  # so that it is gone afterwards
        modules[path] = importlib.import_module(f"{parent.__name__}.{name}")
    yield modules
    for one, names in zip(REGISTRIES, before, strict=True):
        for name in set(one) - names:
            one.remove(name)
    READINGS.pop("clip", None)
    for module in modules.values():
        del sys.modules[module.__name__]


def test_the_page_shows_a_file_of_each_kind() -> None:
    assert sorted({path.rsplit("/", 1)[0] for path in FILES}) == [
        *("ingest/sources", "manifests/datasets", "shards/export"),
        *("training/metrics", "training/models", "training/recipes", "training/regimes"),
    ]


@pytest.mark.usefixtures("dropped")
def test_the_page_s_dataset(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    lines = ["a.mp4 0 none a.mp4", "b.mp4 1 swap a.mp4", "c.mp4 1 swap a.mp4"]
    (tmp_path / "root" / "video_list.txt").write_text("\n".join(lines))
    for name in ("a.mp4", "b.mp4", "notes.txt"):
        (tmp_path / "root" / name).write_text("x")
    root = str(tmp_path / "root")
    found = SOURCES.find("forgerynet").discover(root, storage.walk(root))
    assert [(video.label, video.fault) for video in found.videos] == [(0, None), (1, None), (1, "missing")]
    assert len({video.family_id for video in found.videos}) == 1
    assert [finding.path for finding in found.findings] == ["notes.txt"]
    assert DATASETS["forgerynet"].release_of(None, "swap") is not None


@pytest.mark.usefixtures("dropped")
def test_the_page_s_model_and_recipes() -> None:
    large = recipes.load("clip_large", ["model.pretrained=none"])
    assert large.model.model_dump()["arch"] == "vit_large_patch14_clip_224.openai"
    small = recipes.load("clip", ["model.pretrained=none", "model.arch=test_vit.r160_in1k"])
    model = models.build(small.model)
    output = model(torch.rand(2, 3, 64, 64))
    assert output.logit_B.shape == (2,)
    assert output.embedding_BD.shape == (2, model.embedding_dim)


@pytest.mark.usefixtures("dropped")
# lightning 2.6 asks torch 2.15 for a tree in a way that this deprecates
@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")
def test_the_page_s_regime(tmp_path: Path) -> None:
    builds.make(tmp_path / "out", builds.Plan())
    few = ("regime.kind=mirrored", "regime.weight=2.0", "data.draws=8", "epochs=2")
    runs.train([str(tmp_path / "out")], tmp_path / "run", *few)
    steps = folder.read_lines(tmp_path / "run" / "metrics" / "steps.jsonl")
    assert all(row["loss"] == pytest.approx(0.8 * row["bce"] + 0.2 * row["focal"] + 2 * row["gap"]) for row in steps)
    assert all(row["gap"] > 0 for row in steps)


@pytest.mark.usefixtures("dropped")
def test_the_page_s_format(tmp_path: Path) -> None:
    out, to = tmp_path / "out", tmp_path / "export"
    synthetic.build(out, synthetic.people(random.Random(3), 5), "split.protocol=family")
    export(str(out), "table", str(to))
    wanted = {row["sample_id"]: row for row in usable(out).to_dicts()}
    found = {
        row["sample_id"]: row
        for file in to.glob("*.parquet")
        for row in pl.read_parquet(io.BytesIO(file.read_bytes())).to_dicts()
    }
    assert set(found) == set(wanted) != set()
    for name, row in found.items():
        assert row["label"] == wanted[name]["face_label"]
        assert row["picture"] == read.fetch(str(out), wanted[name])


@pytest.mark.usefixtures("dropped")
def test_the_page_s_metric() -> None:
    judged = rows(1, 300)
    found = registry.figures(judged, 0.0)["tpr_at_fpr_5"][0]
    reals, fakes = (np.sort(judged.score_N[judged.label_N == label])[::-1] for label in (0, 1))
    above = reals[int(0.05 * len(reals))]  # so many reals may be called fake, those of its score not
    assert found == pytest.approx((fakes > above).mean())
