"""Pictures out of their shards into the files of other people's code: the registry of formats, and the driver."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Final, TextIO, TypeVar

from semblance.manifests import storage
from semblance.manifests import tables as store
from semblance.manifests.errors import SemblanceError
from semblance.manifests.registry import Registry
from semblance.manifests.storage.staging import NewFolder
from semblance.shards import build_folder, layout
from semblance.shards.read import PICTURES, stream

MASK: Final = "mask.png"
Row = Mapping[str, Any]  # of the samples table


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a format knows of the build before the first picture."""

    description: Mapping[str, Any]  # dataset.json
    compressions: frozenset[str]
    scratch: Path  # a local folder that is removed after the export
    files: ExitStack  # closes what is opened there

    def spool(self, name: str) -> TextIO:
        """A new text file in ``scratch``, for what grows too large to hold."""
        return self.files.enter_context((self.scratch / name).open("w", newline="", encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A stored face: its row, the ``part`` of its video, its bytes as stored with their file suffix, and its mask."""

    row: Row
    part: str | None
    suffix: str
    data: bytes
    mask: bytes | None


class Format(ABC):
    """A way to write pictures for other code: made once for an export, fed in the shards' order, then finished."""

    name: ClassVar[str]  # what --format takes
    summary: ClassVar[str]  # for --help

    @abstractmethod
    def __init__(self, build: Build) -> None: ...

    @abstractmethod
    def write(self, picture: Picture, folder: NewFolder) -> None:
        """Put one picture, and its mask where it has one, into the folder."""

    @abstractmethod
    def finish(self, folder: NewFolder) -> None:
        """Put what lists the pictures, and README.md with the dataset's terms, as the last files."""


FORMATS: Final[Registry[type[Format]]] = Registry("format", "--format")
F = TypeVar("F", bound=type[Format])


def register(form: F) -> F:
    """Decorate a format so that ``--format`` takes its name; raises ValueError where the name is taken."""
    FORMATS.add(form.name, form)
    return form


@dataclass(slots=True, kw_only=True)
class Exported:
    """What was written, and how many samples were left out, and why."""

    pictures: Counter[str] = field(default_factory=Counter)  # by split
    masks: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def export(out: str, form: str, to: str, *, everything: bool = False) -> Exported:
    """Write the pictures of the finished build ``out`` at ``to``, an absent or empty folder or prefix.

    Left out, and counted: faces of unknown label, rejected ones that the recipe only marked, and, unless
    ``everything``, those that belong to no split. Pictures and masks are the shards' own bytes. Raises UsageError for
    an unknown ``form``, SemblanceError where ``out`` is unfinished or damaged, or ``to`` is not free.
    """
    chosen = FORMATS.find(form)
    build_folder.refuse_inside(out, to)
    description = build_folder.finished(out)
    plan = store.scan(out, "plan").select("shard", "video_id", "part", "compression").collect()
    parts = dict(plan.select("video_id", "part").iter_rows())
    done = Exported()
    with NewFolder(to, "--to") as folder, TemporaryDirectory(prefix="semblance-") as scratch, ExitStack() as files:
        compressions = frozenset(plan["compression"].drop_nulls())
        into = chosen(Build(description=description, compressions=compressions, scratch=Path(scratch), files=files))
        for shard in plan["shard"].unique().sort():
            rows = {row["sample_id"]: row for row in _rows(out, shard)}
            if layout.split_of(shard) == "unassigned" and not everything:
                done.left_out["on no side (--all exports them)"] += len(rows)
                continue
            for picture in _usable(out, shard, rows, parts, done):
                into.write(picture, folder)
        into.finish(folder)
    return done


def _rows(out: str, shard: str) -> list[dict[str, Any]]:
    return store.read_rows(storage.join(out, layout.manifest_path("samples", layout.key_of(shard))))


def _usable(
    out: str, shard: str, rows: dict[str, Any], parts: Mapping[str, str | None], done: Exported
) -> Iterator[Picture]:
    """Stream one shard's usable pictures and count them; every row must come."""
    for name, members in _stream(out, shard) if rows else ():
        row = rows.pop(name, None)
        suffix = next((suffix for suffix in members if suffix in PICTURES), None)
        if row is None or suffix is None or hashlib.sha256(members[suffix]).hexdigest() != row["sha256"]:
            raise _damage(out, f"{name} in {shard} is not what was committed")
        if row["face_label"] is None:
            done.left_out["of unknown label"] += 1
        elif row["verdict"] != "keep":
            done.left_out["rejected and only marked"] += 1
        else:
            done.pictures[row["split"]] += 1
            done.masks += MASK in members
            yield Picture(
                row=row, part=parts.get(row["video_id"]), suffix=suffix, data=members[suffix], mask=members.get(MASK)
            )
    if rows:
        raise _damage(out, f"{min(rows)} is not in {shard}")


def _stream(out: str, shard: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    samples = stream(storage.join(out, shard))
    while True:
        try:
            sample = next(samples, None)
        except (SemblanceError, FileNotFoundError) as error:
            raise _damage(out, f"{shard} cannot be read ({error})") from error
        if sample is None:
            return
        yield sample


def _damage(out: str, what: str) -> SemblanceError:
    return SemblanceError(f"{out} is damaged: {what}; `shards verify {out} --deep` lists all damage.")
