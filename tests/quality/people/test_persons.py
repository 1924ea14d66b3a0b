"""`quality persons` as a user runs it: dlib's network on real builds, against the truth; and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from semblance import manifests
from semblance.ingest import plan, recipe
from semblance.manifests import persons
from semblance.manifests.errors import SemblanceError
from tests.conftest import Run, once
from tests.ingest import in_process
from tests.shards import synthetic

SETTINGS = ["sampling.n=4", "gates.blur=1"]


@pytest.fixture(scope="module")
def celebdf(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Celeb-DF's sample: eight known people, and others whose videos are from YouTube."""
    planned = plan.make("celebdf", str(shared / "data" / "celebdf"), recipe.load("plan", SETTINGS))
    return once(tmp_path_factory, "persons-celebdf", lambda out: in_process.build(planned, str(out)))


@pytest.mark.shared
def test_people_of_celebdf_against_the_truth(celebdf: Path, shared: Path, run: Run, tmp_path: Path) -> None:
    before = sorted(path.relative_to(celebdf) for path in celebdf.rglob("*"))
    figures = tmp_path / "figures.json"
    printed = run("quality", "persons", celebdf, "--weights", "dlib", "--crops", 2, "--json", figures).stdout
    assert "is intact" in run("shards", "verify", celebdf, "--deep").stdout  # the table is no foreign file
    assert "ESTIMATED from faces by dlib" in printed
    assert "people known in the data, whose ids were withheld" in printed
    added = {path.relative_to(celebdf) for path in celebdf.rglob("*")} - set(before)
    assert added == {Path("manifests/persons.parquet")}  # no vector anywhere
    found = persons.read(str(celebdf))
    assert not any(
        isinstance(kind, pl.List | pl.Array) and kind.inner.is_numeric() for kind in found.rows.schema.values()
    )
    assert found.about == json.loads(figures.read_text())
    assert str(tmp_path) not in json.dumps(found.about)

    truth = pl.read_csv(shared / "data" / "celebdf" / "truth.csv").select("path", "persons", "donor")
    videos = manifests.scan(str(celebdf), "plan").select("video_id", "path", "label", "target_id", "donor_id").collect()
    assert set(found.rows["video_id"]) == set(videos["video_id"])
    joined = found.rows.join(videos.join(truth, on="path"), on="video_id")
    people: dict[str, set[str]] = {}
    for row in joined.iter_rows(named=True):
        one = row["persons"] if row["role"] == "target" else row["donor"]
        if row["person_estimated"] is not None:
            people.setdefault(row["person_estimated"], set()).add(one)
    assert all(len(shown) == 1 for shown in people.values()), people
    named = joined.filter((pl.col("role") == "target") & pl.col("target_id").is_not_null())
    assert (named["person_estimated"] == "id:" + named["target_id"]).all()
    calibration = found.about["calibration"]
    assert calibration["truth"] == "ids"
    assert calibration["missed"] == calibration["false"] == calibration["leak"]["share"] == 0


@pytest.mark.shared
def test_vectors_are_kept_only_where_named(celebdf: Path, run: Run, tmp_path: Path) -> None:
    to, kept = tmp_path / "all.parquet", tmp_path / "vectors.parquet"
    words = ("quality", "persons", celebdf, "--weights", "dlib", "--crops", 1, "--to", to, "--keep-vectors", kept)
    assert "which are biometric data" in run(*words).stdout
    vectors = pl.read_parquet(kept)
    embedded = persons.read(str(to)).rows.filter(pl.col("crops") > 0)
    assert (
        vectors.select("dataset", "video_id", "person").rows()
        == embedded.select("dataset", "video_id", "person").rows()
    )
    assert np.array(vectors["vector"].to_list()).shape == (embedded.height, 128)


def test_what_cannot_be_estimated_is_one_sentence(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    synthetic.build(out, synthetic.people(random.Random(1), 6))  # its faces have no place in a frame
    for words, said in (
        ((out, "--weights", "dlib"), "have no landmarks"),
        ((tmp_path / "none", "--weights", "dlib"), "is not a build"),
        ((out, "--weights", tmp_path / "none.dat"), "do not exist"),
    ):
        done = run("quality", "persons", *words, expect=1)
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (out / persons.FILE).exists()
    for more, said in (
        (["--weights", "x"], "Unknown weights"),
        ([out, "--weights", "dlib"], "is named twice"),
        (["--weights", "dlib", "--to", "x.csv"], "must end in .parquet"),
    ):
        assert said in run("quality", "persons", out, *more, expect=2).stderr
    with pytest.raises(SemblanceError, match="does not exist; write it with `quality persons"):
        persons.read(str(out))
