"""Which failures are retried, and files that are read by ranges."""

from __future__ import annotations

import errno
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import storage
from semblance.manifests.errors import StorageError, UsageError
from semblance.manifests.storage import ranges, retry
from semblance.manifests.storage.retry import patiently


class Failing:
    """An action that fails a few times before it succeeds."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_WAIT", 0.001)


PASSING = (ConnectionResetError("cut"), TimeoutError("late"), OSError(errno.EIO, "io"), OSError(errno.ESTALE, "stale"))
FINAL = (
    *(FileNotFoundError("gone"), FileExistsError("there"), IsADirectoryError("folder")),
    *(OSError(errno.ENOSPC, "full"), OSError(errno.EROFS, "read-only"), ValueError("a defect")),
)


def test_transient_failures_are_retried() -> None:
    action = Failing(*PASSING)
    assert patiently("s3://bucket/x", action) == "done"
    assert action.calls == len(PASSING) + 1


@pytest.mark.parametrize("error", FINAL, ids=repr)
def test_permanent_failures_are_raised_immediately(error: Exception) -> None:
    action = Failing(error)
    with pytest.raises(type(error)):
        patiently("/disk/x", action)
    assert action.calls == 1


def test_unavailable_storage_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retry.VARIABLE, "0.05")
    with pytest.raises(StorageError, match=r"^s3://bucket/x could not be reached for 0 s \(cut\); fix"):
        patiently("s3://bucket/x", Failing(*[ConnectionResetError("cut")] * 999))
    with pytest.raises(StorageError, match="may not be read"):
        patiently("s3://bucket/x", Failing(PermissionError("no")))
    with pytest.raises(PermissionError):
        patiently("/disk/x", Failing(PermissionError("no")))
    for text in ("long", "nan", "inf", "-1"):
        monkeypatch.setenv(retry.VARIABLE, text)
        with pytest.raises(UsageError, match="must be a number of seconds"):
            patiently("/disk/x", Failing())


@pytest.mark.parametrize(
    ("status", "code", "transient"),
    [(500, "InternalError", True), (503, "SlowDown", True), (400, "IncompleteBody", True), (400, "InvalidUri", False)],
)
def test_the_response_of_the_server_decides(status: int, code: str, transient: bool) -> None:
    error = OSError(errno.EINVAL, "error of the server")
    error.__cause__ = ValueError()
    error.__cause__.response = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}  # type: ignore[attr-defined]
    assert retry.is_transient(error) is transient


@given(data=st.binary(max_size=300), steps=st.lists(st.tuples(st.integers(0, 320), st.integers(0, 90)), max_size=8))
def test_reading_by_ranges_gives_the_content_of_the_file(data: bytes, steps: list[tuple[int, int]]) -> None:
    ours, plain = ranges.opened(lambda start, count: data[start : start + count], len(data)), io.BytesIO(data)
    for place, count in steps:
        assert ours.seek(place) == plain.seek(place)
        assert ours.read(count) == plain.read(count)
    ours.seek(0)
    assert ours.read() == data


def test_create_never_replaces(tmp_path: object) -> None:
    for url in (f"{tmp_path}/deep/one", f"memory://created/{random.random()}"):
        assert storage.create(url, b"first")
        assert not storage.create(url, b"second")
        assert storage.read_bytes(url) == b"first"
