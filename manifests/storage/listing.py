"""Every file below a folder of inputs, through links to other folders, and what could not be listed."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from typing import Final

from semblance.manifests.storage.objects import Stat, is_remote, walk
from semblance.manifests.storage.retry import patiently, reason

_OWN: Final = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisted:
    """A link, folder or device whose content is not part of the listing: its path below the root, and why."""

    path: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Listing:
    """The files, sorted by path, and what was left out."""

    files: list[Stat] = field(default_factory=list)
    unlisted: list[Unlisted] = field(default_factory=list)


def survey(url: str) -> Listing:
    """Every file below ``url``, through links to files and to folders elsewhere.

    A folder is read once, at its own place if that is below ``url``, else at the first link to it. Links that would
    read it again, links to a folder above themselves, dangling links and unreadable folders are ``unlisted``. Raises
    StorageError if storage does not answer.
    """
    if is_remote(url):
        return Listing(files=walk(url))
    root = os.path.normpath(url.removeprefix("file://"))
    listing = Listing()
    seen = {os.path.realpath(root): "."}
    links = _read(root, "", seen, listing)
    while links:
        path = links.pop(min(range(len(links)), key=links.__getitem__))
        links += _follow(root, path, seen, listing)
    listing.files.sort(key=lambda file: file.path)
    listing.unlisted.sort(key=lambda one: one.path)
    return listing


def _follow(root: str, path: str, seen: dict[str, str], listing: Listing) -> list[str]:
    """Read the folder that a link leads to, unless it is read elsewhere; returns the links in it."""
    target = os.path.realpath(os.path.join(root, path))
    above = os.path.realpath(os.path.dirname(os.path.join(root, path)))
    if f"{above.rstrip('/')}/".startswith(f"{target.rstrip('/')}/"):
        why = "a link to a folder above itself"
    elif target in seen:
        why = f"a link to the same folder as {seen[target]}/, which is read there"
    else:
        seen[target] = path
        return _read(root, path, seen, listing)
    listing.unlisted.append(Unlisted(path=path, reason=why))
    return []


def _read(root: str, top: str, seen: dict[str, str], listing: Listing) -> list[str]:
    """Add the files below the folder ``top``; returns its links to folders, which are not followed yet."""
    links: list[str] = []
    folders = [(top, os.path.realpath(os.path.join(root, top)))]
    while folders:
        folder, real_folder = folders.pop()
        try:
            entries = _entries(os.path.join(root, folder))
        except OSError as error:
            if error.errno not in _OWN:
                raise
            listing.unlisted.append(Unlisted(path=folder or ".", reason=f"it cannot be listed ({reason(error)})"))
            continue
        for entry in entries:
            path, real = os.path.join(folder, entry.name), os.path.join(real_folder, entry.name)
            if not entry.is_dir(follow_symlinks=False):
                _sort_in(os.path.join(root, path), path, links, listing)
            elif real in seen:  # a link led to it before
                why = f"the same folder as {seen[real]}/, which is read there"
                listing.unlisted.append(Unlisted(path=path, reason=why))
            else:
                seen[real] = path
                folders.append((path, real))
    return links


def _entries(folder: str) -> list[os.DirEntry[str]]:
    def scan() -> list[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            return list(entries)

    return patiently(folder, scan)


def _sort_in(place: str, path: str, links: list[str], listing: Listing) -> None:
    """Add one file, or link, to the listing or to the links to folders."""
    try:
        info = patiently(place, lambda: os.stat(place))
    except OSError as error:
        if error.errno not in _OWN:
            raise
        why = f"it cannot be read ({reason(error)})"
        if os.path.islink(place):
            target = os.readlink(place)
            why = f"a link to {target}, which {'does not exist' if error.errno == errno.ENOENT else 'leads nowhere'}"
        listing.unlisted.append(Unlisted(path=path, reason=why))
        return
    if stat.S_ISDIR(info.st_mode):
        links.append(path)
    elif stat.S_ISREG(info.st_mode):
        listing.files.append(Stat(path=path, bytes=info.st_size, version=str(info.st_mtime_ns)))
    else:
        listing.unlisted.append(Unlisted(path=path, reason="it is neither a file nor a folder"))
