"""Atomic writes: content reaches the disk before the name, and nothing changes after an exception."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import storage
from semblance.manifests.errors import StorageError


def break_off(url: str, remedy: str = "") -> None:
    with storage.writing(url, remedy) as out:
        out.write(b"after")
        raise KeyError


@given(blocks=st.lists(st.binary(max_size=9), max_size=5))
def test_what_was_written_appears_when_the_block_ends(
    blocks: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("writing") / "below" / "file"
    with storage.writing(str(file)) as out:
        for block in blocks:
            assert not file.exists()
            out.write(block)
    assert file.read_bytes() == b"".join(blocks)
    assert list(file.parent.iterdir()) == [file]


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    with pytest.raises(KeyError):
        break_off(str(file))
    assert file.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [file]


def test_content_is_synced_before_the_rename_and_the_rename_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order that survives a power failure: fsync of the file, rename, fsync of its folder."""
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        steps.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        real_fsync(handle)

    def replace(source: Path, target: Path) -> None:
        steps.append(f"replace {Path(source).name} {Path(target).name}")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    with storage.writing(str(tmp_path / "file")) as out:
        out.write(b"x")
    draft = steps[0].removeprefix("fsync ")
    assert storage.is_draft(draft)
    assert steps == [f"fsync {draft}", f"replace {draft} file", f"fsync {tmp_path.name}"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"file/x cannot be written \(.*\); sail on\.$"):
        break_off(str(tmp_path / "file" / "x"), "sail on")


def test_an_object_appears_completely_too(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    url = "s3://bucket/writing/file"
    with storage.writing(url) as out:
        out.write(b"one")
        assert not storage.exists(url)
    with pytest.raises(KeyError):
        break_off(url)
    assert storage.read_bytes(url) == b"one"
