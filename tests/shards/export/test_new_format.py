"""A format that Semblance does not know, in one class: one file with all pictures, and an index of it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from semblance.manifests.errors import UsageError
from semblance.manifests.storage.staging import NewFolder
from semblance.shards import read
from semblance.shards.export import FORMATS, Build, Format, Picture, export
from tests.conftest import Run
from tests.shards import synthetic


class Packed(Format):
    """pictures.bin, and index.json with the place of each picture in it."""

    name = "packed"
    summary = "one file and its index"

    def __init__(self, build: Build) -> None:
        self.terms: str = build.description["datasheet"]["terms"]
        self.places: dict[str, tuple[int, int]] = {}
        self.data = bytearray()

    def write(self, picture: Picture, folder: NewFolder) -> None:
        del folder
        self.places[picture.row["sample_id"]] = (len(self.data), len(picture.data))
        self.data += picture.data

    def finish(self, folder: NewFolder) -> None:
        folder.put("pictures.bin", bytes(self.data))
        folder.put("index.json", json.dumps(self.places).encode(), last=True)
        folder.put("README.md", self.terms.encode(), last=True)


def test_a_format_is_one_class(tmp_path: Path) -> None:
    out, to = tmp_path / "out", tmp_path / "export"
    synthetic.build(out, synthetic.people(random.Random(7), 5), "split.protocol=family")
    with pytest.raises(UsageError, match=r"Unknown format 'packed'; --format accepts deepfakebench, folder\."):
        export(str(out), "packed", str(to))
    with FORMATS.added("packed", Packed):
        done = export(str(out), "packed", str(to))
    usable = manifests.scan(str(out)).filter(
        pl.col("verdict") == "keep", pl.col("face_label").is_not_null(), pl.col("split") != "unassigned"
    )
    rows = {row["sample_id"]: row for row in usable.collect().to_dicts()}
    places = json.loads((to / "index.json").read_text())
    assert set(places) == set(rows)
    assert done.pictures.total() == len(rows) > 0
    data = (to / "pictures.bin").read_bytes()
    for name, (first, length) in places.items():
        assert data[first : first + length] == read.fetch(str(out), rows[name])


def test_help_lists_the_formats_of_the_registry(run: Run) -> None:
    output = " ".join(run("shards", "export", "--help").stdout.replace("│", " ").split())
    for name, form in FORMATS.items():
        assert f"{name} ({form.summary})" in output


def test_the_formats_are_not_imported_before_they_are_asked_for() -> None:
    look = "import sys, semblance.shards.cli; assert 'semblance.shards.export' not in sys.modules"
    subprocess.run([sys.executable, "-c", look], check=True)
