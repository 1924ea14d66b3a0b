"""The table of estimated persons on disk: equal bytes, what is refused, the order of its rows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from semblance.manifests import persons
from semblance.manifests.errors import SemblanceError
from semblance.manifests.persons import Persons


def row(video: str, name: str | None, role: str = "target", person: int | None = None) -> dict[str, object]:
    return {
        "dataset": "x",
        "video_id": video,
        "role": role,
        "person": person,
        "person_estimated": name,
        "by": "cluster" if name else "no_face",
        "crops": 3 if name else 0,
        "near": ["p0002"] if name else [],
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [row("b", "p0001", "donor"), row("b", "p0001", person=1), row("b", "p0003", person=0), row("a", None)]
    about = {"embedder": "dlib", "counts": {"videos": 2}, "ä": None}
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for url, order in ((first, rows), (second, rows[::-1])):
        persons.write(str(url), Persons(rows=persons.frame(order), about=about))
    assert first.read_bytes() == second.read_bytes()
    found = persons.read(str(first))
    assert found.about == about
    assert found.rows.columns == [column.name for column in persons.COLUMNS]
    assert found.rows.select("video_id", "role", "person").rows() == [
        ("a", "target", None),
        ("b", "target", 0),
        ("b", "target", 1),
        ("b", "donor", None),
    ]
    assert found.rows.schema["near"] == pl.List(pl.String)


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    url = str(tmp_path / "none.parquet")
    persons.write(url, Persons(rows=persons.frame([]), about={}))
    assert persons.read(url).rows.schema == persons.frame([row("a", None)]).schema


def test_a_build_has_its_table_at_one_place(tmp_path: Path) -> None:
    url = persons.url_of(str(tmp_path))
    assert url == str(tmp_path / "manifests" / "persons.parquet")
    (tmp_path / "manifests").mkdir()
    persons.write(url, Persons(rows=persons.frame([row("a", "p0001")]), about={}))
    assert persons.read(str(tmp_path)).rows["video_id"].to_list() == ["a"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    good, damaged = tmp_path / "good.parquet", tmp_path / "damaged.parquet"
    persons.write(str(good), Persons(rows=persons.frame([row("a", "p0001")]), about={}))
    pq.write_table(pq.read_table(good).replace_schema_metadata({}), tmp_path / "no_about.parquet")
    pq.write_table(pq.read_table(good).drop_columns(["near"]), tmp_path / "no_near.parquet")
    damaged.write_bytes(good.read_bytes()[:-20])
    for name in ("no_about", "no_near", "damaged"):
        with pytest.raises(SemblanceError, match=rf"{name}\.parquet is no table of estimated persons"):
            persons.read(str(tmp_path / f"{name}.parquet"))
    with pytest.raises(SemblanceError, match="does not exist; write it with `quality persons"):
        persons.read(str(tmp_path))
