"""Side tables such as split lists, next to the videos or in the folder that the recipe names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from posixpath import basename, join

from semblance.manifests import storage
from semblance.manifests.errors import SemblanceError


@dataclass(frozen=True, slots=True, kw_only=True)
class SideTable:
    """A small file about many videos: its name, its location and its bytes.

    ``path`` is relative to the dataset's root if ``inside`` it, else as in the recipe.
    """

    name: str
    path: str
    inside: bool
    data: bytes

    @property
    def hashed(self) -> tuple[str, str]:
        """Name and content hash for the fingerprint, independent of the location."""
        return self.name, hashlib.sha256(self.data).hexdigest()


def find(
    root: str, paths: Collection[str], lists: str | None, names: Sequence[str], folders: Iterable[str]
) -> list[SideTable]:
    """Every file of one of the ``names`` in one of the ``folders``, by name and then by path.

    Without ``lists`` the folders are below ``root``, and the files among ``paths``. With it they are only in the folder
    ``lists``, which is a path as written or below ``root``, or the path of one such file. Raises SemblanceError if
    ``lists`` has none of them, or an existing file cannot be read.
    """
    if lists is None:
        present = sorted(
            (name, path) for name in names for path in {join(folder, name) for folder in folders} if path in paths
        )
        return [_read(storage.join(root, path), name, root) for name, path in present]
    base, wanted = (
        (lists, names) if basename(lists) not in names else (os.path.dirname(lists) or ".", [basename(lists)])
    )
    for place in (base, storage.join(root, base)):
        urls = [(name, storage.join(place, join(folder, name))) for name in wanted for folder in sorted({"", *folders})]
        if found := [(name, url) for name, url in urls if _exists(url)]:
            return [_read(url, name, root) for name, url in found]
    raise SemblanceError(
        f"{lists} has none of {', '.join(names)}; pass the folder that contains them with --set source.lists=FOLDER."
    )


def below(root: str, url: str) -> str | None:
    """The path of ``url`` below ``root``; None if it is elsewhere."""
    if storage.is_remote(root) or storage.is_remote(url):
        folder = f"{root.rstrip('/')}/"
        return url.removeprefix(folder) if url.startswith(folder) else None
    path = os.path.relpath(os.path.realpath(url), os.path.realpath(root.removeprefix("file://")))
    return None if path == ".." or path.startswith("../") else path


def _exists(url: str) -> bool:
    try:
        return storage.exists(url)
    except (OSError, ValueError, ImportError) as error:  # an unknown protocol, no access
        raise SemblanceError(f"source.lists cannot be read at {url} ({error}); pass a folder or URL.") from error


def _read(url: str, name: str, root: str) -> SideTable:
    try:
        data = storage.read_bytes(url)
    except OSError as error:
        raise SemblanceError(f"{url} exists but cannot be read ({error}); make it readable and try again.") from error
    place = below(root, url)
    path = (place or url).encode("utf-8", "backslashreplace").decode()
    return SideTable(name=name, path=path, inside=place is not None, data=data)
