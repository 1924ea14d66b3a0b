"""A suite as a file: its paths, and every fault in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from semblance.manifests.errors import UsageError
from semblance.training.benchmark import suite as suites

ROW, COLUMN = "{name: a, runs: r}", "{name: c, data: d}"


def written(folder: Path, text: str) -> Path:
    file = folder / "suite.yaml"
    file.write_text(text, "utf-8")
    return file


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "odd [name]"
    (folder / "runs" / "b").mkdir(parents=True)
    file = written(
        folder,
        "rows: [{name: a, runs: runs/a-seed*}, {name: b, runs: runs/b}, {name: c, external: 'm:f'},\n"
        " {name: d, external: 'x/v.py:f'}, {name: e, external: 'http://h:1/f.py'}]\n"
        "columns: [{name: c, data: ../out}, {name: d, data: s3://bucket/out, method: M}, {name: e, data: /out}]",
    )
    read = suites.read(file)
    assert [row.runs for row in read.rows] == [
        *(f"{tmp_path}/odd [[]name]/runs/a-seed*", f"{folder}/runs/b", None, None, None)
    ]
    assert [row.external for row in read.rows[2:]] == ["m:f", f"{folder}/x/v.py:f", "http://h:1/f.py"]
    assert [column.data for column in read.columns] == [f"{tmp_path}/out", "s3://bucket/out", "/out"]
    assert read.columns[1].method == ("M",)
    assert (read.asked.consistency, read.asked.gain, read.asked.ensemble_gain) == (0.9, 0.05, 0.02)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f"rows: [{ROW}]\ncolumns: [{COLUMN}]\nbasline: a",
            "the unknown key 'basline'; known keys here are allow",
        ),
        (
            f"rows: [{{name: a, run: r}}]\ncolumns: [{COLUMN}]",
            "key 'rows.0.run'; known keys here are external, name",
        ),
        (f"rows: [{ROW}]\ncolumns: [{{name: c, data: d, degrade: {{jpg: 3}}}}]", "key 'columns.0.degrade.jpg'"),
        (
            f"rows: [{ROW}]\ncolumns: [{{name: c, data: d, kind: new}}]",
            "'columns.0.kind': Input should be 'seen', 'unseen method'",
        ),
        (f"rows: [{ROW}]\ncolumns: [{{name: c, data: d, kind: adversarial}}]", "is adversarial, so it needs attack"),
        (
            f"rows: [{ROW}]\ncolumns: [{{name: c, data: d, kind: seen, degrade: {{jpeg: 9}}}}]",
            "so its kind is low quality, not seen",
        ),
        (f"rows: [{ROW}]\ncolumns: [{{name: c, data: d, degrade: {{}}}}]", "degrade needs jpeg: QUALITY"),
        (f"rows: [{{name: a}}]\ncolumns: [{COLUMN}]", "row 'a' needs one of runs and external"),
        (f"rows: [{ROW}, {ROW}]\ncolumns: [{COLUMN}]", "two rows are named 'a'"),
        (f"rows: [{ROW}]\ncolumns: [{COLUMN}, {COLUMN}]", "two columns are named 'c'"),
        (f"rows: [{ROW}]\ncolumns: [{COLUMN}]\nbaseline: b", "the baseline 'b' is no row; rows are a"),
        (f"rows: []\ncolumns: [{COLUMN}]", "at least 1 item"),
        ("- rows", "must be a mapping"),
        ("rows: [", "cannot be read as YAML or JSON (line 1: "),
        (f"rows: [{ROW}]\ncolumns: [{{name: c, data: d-[01]}}]", "YAML or JSON (line 2: expected "),
    ],
)
def test_a_fault_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        suites.read(written(tmp_path, text))
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("The suite")
    assert str(caught.value).count("\n") == 0


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"suite file .* cannot be read"):
        suites.read(tmp_path / "absent.yaml")
