"""What is below a folder: through links, once, and with a reason for all that is left out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semblance.manifests import storage
from semblance.manifests.storage import Listing


def touch(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def paths(listing: Listing) -> list[str]:
    return [file.path for file in listing.files]


def reasons(listing: Listing) -> dict[str, str]:
    return {one.path: one.reason for one in listing.unlisted}


def test_without_links_it_is_the_walk(tmp_path: Path) -> None:
    touch(tmp_path, "b/x.mp4", "a.mp4", "b/c/d/y.mp4", ".hidden/z", "b.txt")
    listing = storage.survey(str(tmp_path))
    assert listing.files == storage.walk(str(tmp_path)) == storage.survey(f"file://{tmp_path}").files
    assert listing.unlisted == []


def test_links_to_folders_elsewhere_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "disk", "p/x.mp4", "p/q/y.mp4")
    touch(tmp_path / "root", "a/z.mp4")
    (tmp_path / "root/part").symlink_to(tmp_path / "disk/p")
    (tmp_path / "root/a/w.mp4").symlink_to(tmp_path / "disk/p/x.mp4")
    (tmp_path / "disk/p/up").symlink_to("..")
    (tmp_path / "disk/p/down").symlink_to("q")
    listing = storage.survey(str(tmp_path / "root"))
    assert paths(listing) == ["a/w.mp4", "a/z.mp4", "part/q/y.mp4", "part/x.mp4"]
    assert [file.bytes for file in listing.files] == [7, 7, 9, 7]
    assert reasons(listing) == {
        "part/down": "a link to the same folder as part/q/, which is read there",
        "part/up": "a link to a folder above itself",
    }
    (tmp_path / "link").symlink_to("root")
    assert paths(storage.survey(str(tmp_path / "link"))) == paths(listing)


def test_a_folder_is_read_once_at_its_own_place(tmp_path: Path) -> None:
    touch(tmp_path, "root/z/x.mp4", "disk/y.mp4", "disk/in/w.mp4")
    (tmp_path / "root/again").symlink_to("z")
    (tmp_path / "root/b").symlink_to(tmp_path / "disk")
    (tmp_path / "root/c").symlink_to(tmp_path / "disk")
    (tmp_path / "root/a").symlink_to(tmp_path / "disk/in")
    listing = storage.survey(str(tmp_path / "root"))
    assert paths(listing) == ["a/w.mp4", "b/y.mp4", "z/x.mp4"]
    assert reasons(listing) == {
        "again": "a link to the same folder as z/, which is read there",
        "b/in": "the same folder as a/, which is read there",
        "c": "a link to the same folder as b/, which is read there",
    }


def test_loops_end_and_links_to_nothing_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.mp4", "b/y.mp4")
    (tmp_path / "a/to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b/to_a").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to("self")
    (tmp_path / "b/root").symlink_to(tmp_path)
    (tmp_path / "b/gone.mp4").symlink_to("/nonexistent.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    listing = storage.survey(str(tmp_path))
    assert paths(listing) == ["a/x.mp4", "b/y.mp4"]
    assert reasons(listing) == {
        "a/self": "a link to self, which leads nowhere",
        "a/to_b": "a link to the same folder as b/, which is read there",
        "b/gone.mp4": "a link to /nonexistent.mp4, which does not exist",
        "b/root": "a link to a folder above itself",
        "b/to_a": "a link to the same folder as a/, which is read there",
        "pipe.mp4": "it is neither a file nor a folder",
    }


@contextmanager
def without_rights() -> Iterator[None]:
    """Not as root, who may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_may_not_be_listed_is_said() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        touch(root, "a.mp4", "closed/b.mp4")
        (root / "closed").chmod(0)
        with without_rights():
            listing = storage.survey(folder)
        (root / "closed").chmod(0o755)
    assert paths(listing) == ["a.mp4"]
    assert reasons(listing) == {"closed": "it cannot be listed (Permission denied)"}


def test_what_does_not_exist_has_no_files(tmp_path: Path) -> None:
    assert storage.survey(str(tmp_path / "gone")).files == []
    touch(tmp_path, "file")
    assert storage.survey(str(tmp_path / "file")).files == []
