"""Every column is described, the descriptions are true, and the tables of a build do not contain them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from semblance import manifests
from semblance.manifests import reference, schema, tables
from semblance.manifests.records import Measures
from tests.conftest import REPOSITORY, Run

ALL = [(table, column) for table, found in schema.COLUMNS.items() for column in found]


def test_every_column_is_described() -> None:
    for table, column in ALL:
        where = f"{table}.{column.name}"
        assert len(column.meaning) > 5, where
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        nested = pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type)
        assert bool(column.unit) == (number or nested), where
    for table, found in schema.COLUMNS.items():
        names = [column.name for column in found]
        assert len(set(names)) == len(names), table
        assert names == schema.TABLES[table].names


@pytest.mark.parametrize("table", schema.TABLES)
def test_described_is_the_schema_with_metadata(table: str) -> None:
    described = schema.described(table)
    assert [(field.name, field.type) for field in described] == [
        (field.name, field.type) for field in schema.TABLES[table]
    ]
    for field, column in zip(described, schema.COLUMNS[table], strict=True):
        assert field.metadata[b"meaning"].decode() == column.meaning
        assert field.metadata[b"unit"].decode() == column.unit
        assert (field.metadata[b"null"] == b"never") == (not field.nullable) == (not column.null)


def test_columns_without_a_null_meaning_are_never_null(built: Path) -> None:
    for table, found in schema.COLUMNS.items():
        rows = manifests.scan(str(built), table, flags=False).collect()  # type: ignore[arg-type]
        for column in found:
            assert column.null or not rows[column.name].null_count(), f"{table}.{column.name}"


def test_tables_on_disk_hold_no_descriptions(tmp_path: Path) -> None:
    """So a better description never changes the bytes of a build."""
    for table in schema.TABLES:
        tables.write_rows(str(tmp_path / table), [], table)  # type: ignore[arg-type]
        stored = pq.read_schema(tmp_path / table)
        assert all(not set(field.metadata or {}) - {b"PARQUET:field_id"} for field in stored)
        assert {key: value for key, value in stored.metadata.items() if key != b"ARROW:schema"} == {
            b"semblance_table": table.encode(),
            b"semblance_schema": str(schema.CURRENT).encode(),
        }
    assert str(schema.CURRENT) == schema.VERSION  # as in fingerprints: text since 5.1


def test_measures_are_columns_in_their_order() -> None:
    names = [name for name in schema.SAMPLES.names if name in Measures.__slots__]
    assert names == list(Measures.__slots__) == [n for n in schema.REJECTS.names if n in Measures.__slots__]


def test_the_reference_is_what_the_command_prints(run: Run) -> None:
    """Run `manifests schema --markdown > docs/schema.md` after a change of the schema."""
    committed = (REPOSITORY / "docs" / "schema.md").read_text("utf-8")
    assert committed == reference.markdown() == run("manifests", "schema", "--markdown").stdout


@pytest.mark.parametrize("table", schema.TABLES)
def test_markdown_has_one_row_per_column(table: str) -> None:
    lines = reference.markdown([table]).splitlines()
    for column in schema.COLUMNS[table]:
        (line,) = [line for line in lines if line.startswith(f"| `{column.name}` |")]
        assert line.count(" | ") == 4, line


def test_the_command_prints_one_table_and_refuses_another(run: Run) -> None:
    listed = run("manifests", "schema", "flags").stdout
    for name, kind, unit, meaning, null in reference.rows("flags"):
        (line,) = [line for line in listed.splitlines() if line.split()[:2] == [name, kind]]
        assert all(words in line for words in (unit, meaning, null))
    assert "samples" in run("manifests", "schema", "nothing", expect=2).stderr
