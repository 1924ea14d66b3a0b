"""Folders of many files that appear completely or not at all."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError

_PARALLEL: Final = 16  # parallel uploads


class NewFolder:
    """A folder that stays absent or empty until the block ends without an exception.

    On disk, files are collected in a hidden folder next to it, which is renamed at the end. An object store shows each
    file as it arrives, those marked ``last`` after all others, and all are deleted after an exception. Raises
    SemblanceError if ``url``, which the command's ``flag`` named, is not empty.
    """

    def __init__(self, url: str, flag: str) -> None:
        self._url = url
        self._remote = storage.is_remote(url)
        self._target = Path(os.path.abspath(url.removeprefix("file://")))
        if storage.list_names(url) or (not self._remote and self._target.exists() and not self._target.is_dir()):
            raise SemblanceError(f"{url} is not empty; choose an empty or new folder with {flag}.")
        self._staging = self._target.with_name(f".{self._target.name}.semblance-partial")
        self._pool = ThreadPoolExecutor(_PARALLEL if self._remote else 1)
        self._sent: dict[str, Future[None]] = {}
        self._waiting: list[Future[None]] = []

    def __enter__(self) -> Self:
        if not self._remote:
            shutil.rmtree(self._staging, ignore_errors=True)  # left by a killed run
        return self

    def put(self, path: str, data: bytes, *, last: bool = False) -> None:
        """Write one file, ``path`` relative to the folder; raises SemblanceError if it cannot be written."""
        if self._remote:
            if last or len(self._waiting) >= 2 * _PARALLEL:
                self._settle()
            url = storage.join(self._url, path)
            self._sent[url] = self._pool.submit(storage.write_bytes, url, data)
            self._waiting.append(self._sent[url])
            return
        try:
            file = self._staging / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        except OSError as error:
            raise storage.unwritable(self._url, error) from error

    def put_file(self, path: str, local: str) -> None:
        """Like ``put``, after all others, with the content of a local file of any size."""
        if self._remote:
            self._settle()
            url = storage.join(self._url, path)
            self._sent[url] = self._pool.submit(storage.publish, local, url)
            self._waiting.append(self._sent[url])
            return
        try:
            file = self._staging / path
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local, file)
        except OSError as error:
            raise storage.unwritable(self._url, error) from error

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._settle()
                if not self._remote:
                    self._appear()
        except SemblanceError:
            self._discard()
            raise
        finally:
            if kind is not None:
                self._discard()
            self._pool.shutdown()

    def _settle(self) -> None:
        """Wait for all uploads in progress."""
        for future in self._waiting:
            future.result()
        self._waiting = []

    def _appear(self) -> None:
        try:
            self._staging.mkdir(parents=True, exist_ok=True)  # if there was no file
            os.sync()
            storage.appear(self._staging, self._target)
        except OSError as error:
            raise storage.unwritable(self._url, error) from error

    def _discard(self) -> None:
        if not self._remote:
            shutil.rmtree(self._staging, ignore_errors=True)
            return
        self._pool.shutdown(cancel_futures=True)
        for url in self._sent:
            with suppress(OSError):
                storage.remove(url)
