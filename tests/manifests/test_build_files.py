"""build.json and dataset.json: one reader for builds that are finished, unfinished, damaged or absent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import build_files
from semblance.manifests.errors import SemblanceError

VALUES = st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5) | st.lists(st.booleans()))


@given(value=VALUES)
def test_a_written_object_is_read_back_and_equal_values_give_equal_bytes(
    value: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("build")
    build_files.write(str(out), build_files.DATASET, value)
    first = (out / "dataset.json").read_bytes()
    assert build_files.read(str(out)) == build_files.finished(str(out)) == build_files.description(str(out)) == value
    build_files.write(str(out), build_files.DATASET, dict(reversed(value.items())))
    assert (out / "dataset.json").read_bytes() == first


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": ', b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_one_sentence_and_no_description(data: bytes, tmp_path: Path) -> None:
    for name in (build_files.CLAIM, build_files.DATASET):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SemblanceError, match=rf"{name} is damaged \(.*\); restore it") as error:
            build_files.read(str(tmp_path), name)
        assert "\n" not in str(error.value)
    with pytest.raises(SemblanceError, match="is damaged"):
        build_files.finished(str(tmp_path))
    assert build_files.description(str(tmp_path)) == {}


def test_no_build_and_an_unfinished_one_have_different_errors(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert build_files.read(str(folder)) is None
        assert build_files.description(str(folder)) == {}
        with pytest.raises(SemblanceError, match="is not a build"):
            build_files.finished(str(folder))
    (tmp_path / "plan.parquet").write_bytes(b"")
    with pytest.raises(SemblanceError, match="is not finished"):
        build_files.finished(str(tmp_path))
