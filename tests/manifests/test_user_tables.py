"""Users' tables: the same text from every format and place, and errors that name file, row and column."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import fsspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.user_tables import read_cells, read_user_table

TRICKY = ("007", "1e5", "true", "2020-01-01", "NaN", " a b ", 'quoted "x", y', "ärger")
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
ROWS = st.lists(st.tuples(st.text("ab1", min_size=1, max_size=3), CELL.filter(lambda cell: cell == cell.strip())))


def written(folder: Path, suffix: str, rows: list[tuple[str | None, str | None]]) -> str:
    """The rows as a file with the columns id and note."""
    file = folder / f"table{suffix}"
    if suffix == ".parquet":
        pl.DataFrame(rows, schema={"id": pl.String, "note": pl.String}, orient="row").write_parquet(file)
    elif suffix == ".jsonl":
        file.write_text("".join(json.dumps({"id": one, "note": other}) + "\n" for one, other in rows), "utf-8")
    else:
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter="\t" if suffix == ".tsv" else ",")
        writer.writerows([("id", "note"), *rows])
        file.write_bytes(buffer.getvalue().encode())
    return str(file)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_gives_the_text_that_was_written(suffix: str, tmp_path: Path) -> None:
    rows = [(text, text) for text in TRICKY] + [("x", None)]
    table = read_user_table(written(tmp_path, suffix, list(rows)))
    assert table.schema == {"id": pl.String, "note": pl.String}
    assert table.rows() == rows


@given(rows=ROWS)
def test_a_csv_is_read_back(rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("id", "note"), *rows])
    sheet = read_cells(buffer.getvalue().encode(), "x.csv")
    assert sheet.names == ["id", "note"]
    assert [tuple(line) for line in sheet.lines] == rows


def test_numbers_and_booleans_are_text(tmp_path: Path) -> None:
    """Parquet's own types and JSON's literals; integers only where they are requested."""
    parquet, lines = tmp_path / "t.PQ", tmp_path / "t.ndjson"
    pl.DataFrame({"n": [7, None], "ok": [True, False], "more": [[1], [2]]}).write_parquet(parquet)
    lines.write_text('{"n": 7, "ok": true}\n\n{"ok": false, "x": 1e5}\n')
    assert read_user_table(str(parquet)).rows(named=True) == [{"n": "7", "ok": "true"}, {"n": None, "ok": "false"}]
    assert read_user_table(str(lines)).rows() == [("7", "true", None), (None, "false", "1e5")]
    (tmp_path / "t.csv").write_text("\ufeff id , n\r\n007,3\r\n1e5, -4.0 \r\n")
    table = read_user_table(str(tmp_path / "t.csv"), columns={"id": str, "n": int})
    assert table.rows() == [("007", 3), ("1e5", -4)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "The list FILE cannot be read (it is empty)"),
        ("n\n3\n", "The list FILE has no column id; it has n."),
        ("x\n3\n", "The list FILE has no column id and no column n; it has x."),
        ("id,n\na,1\nb\n", "The list FILE cannot be read (row 2 has 1 values for 2 columns)"),
        ("id,n\na,1\nb,2,3\n", "The list FILE cannot be read (row 2 has 3 values for 2 columns)"),
        ("id,n,id\na,1,b\n", "it has the column 'id' twice"),
        ("id,n\na,1\n,2\n", "The list FILE has an empty cell in row 2, column id; fill it, or remove the row."),
        ("id,n\na,1\nb,2.5\n", "The list FILE has '2.5' in row 2, column n, where an integer is required."),
        ("id,n\na,99999999999999999999\n", "has '99999999999999999999' in row 1, column n"),
        ('id,n\n"a,1\n', "The list FILE cannot be read (a quotation mark of line 2 is never closed)"),
    ],
)
def test_a_bad_table_is_one_sentence_with_the_place(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_user_table(str(file), "The list", {"id": str, "n": int}, error=UsageError)
    assert words.replace("FILE", str(file)) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", b"id\n\xff\n"),
        ("t.parquet", b""),
        ("t.parquet", b"PAR1" + bytes(40) + b"PAR1"),
        ("t.jsonl", b'{"id": "a"}\n{"id": \n'),
        ("t.jsonl", b'["a"]\n'),
        ("t.jsonl", b'{"id": ["a"]}\n'),
        ("t.jsonl", b"[" * 100_000),
    ],
)
def test_bytes_that_are_not_a_table_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SemblanceError, match="cannot be read") as error:
        read_user_table(str(tmp_path / name))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["gone.csv", "nul\0.csv", "nowhere://t.csv", "memory://gone/t.parquet"])
def test_an_absent_table_is_refused(source: str, tmp_path: Path) -> None:
    place = source if "://" in source else str(tmp_path / source)
    with pytest.raises(SemblanceError, match="cannot be read"):
        read_user_table(place)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_on_s3_is_the_same(
    suffix: str, tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    local = written(tmp_path, suffix, [("007", "a"), ("1e5", None)])
    url = f"s3://bucket/user-tables/table{suffix}"
    storage.publish(local, url)
    assert read_user_table(url).equals(read_user_table(local))
    with pytest.raises(SemblanceError, match=r"The list s3:.* cannot be read"):
        read_user_table("s3://bucket/gone.csv", "The list")
