"""The registry of export formats, and the export of a build's pictures."""

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

from semblance.manifests import storage, tables
from semblance.manifests.errors import SemblanceError
from semblance.manifests.registry import Registry
from semblance.manifests.storage.staging import NewFolder
from semblance.shards import build_folder, layout
from semblance.shards.read import PICTURES, stream

MASK: Final = "mask.png"
Row = Mapping[str, Any]  # of the samples table


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """The build, as a format sees it before the first picture."""

    description: Mapping[str, Any]  # dataset.json
    compressions: frozenset[str]
    scratch: Path  # a local folder that is removed after the export
    files: ExitStack  # closes the files opened by ``spool``

    def spool(self, name: str) -> TextIO:
        """A new text file in ``scratch``, for data that is too large for memory."""
        return self.files.enter_context((self.scratch / name).open("w", newline="", encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A stored face: its row, the ``part`` of its video, its encoded bytes with their file suffix, and its mask."""

    row: Row
    part: str | None
    suffix: str
    data: bytes
    mask: bytes | None


class Format(ABC):
    """An output format: created once per export, given all pictures in the order of the shards, then finished."""

    name: ClassVar[str]  # value of --format
    summary: ClassVar[str]  # shown by --help

    @abstractmethod
    def __init__(self, build: Build) -> None: ...

    @abstractmethod
    def write(self, picture: Picture, folder: NewFolder) -> None:
        """Write one picture, and its mask if it has one, to the folder."""

    @abstractmethod
    def finish(self, folder: NewFolder) -> None:
        """Write the lists of pictures, and README.md with the dataset's terms, as the last files."""


FORMATS: Final[Registry[type[Format]]] = Registry("format", "--format")
F = TypeVar("F", bound=type[Format])


def register(form: F) -> F:
    """Decorate a format so that ``--format`` accepts its name; raises ValueError if the name is taken."""
    FORMATS.add(form.name, form)
    return form


@dataclass(slots=True, kw_only=True)
class Exported:
    """Counts of the written pictures, and of the excluded samples by reason."""

    pictures: Counter[str] = field(default_factory=Counter)  # by split
    masks: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def export(out: str, form: str, to: str, *, everything: bool = False) -> Exported:
    """Write the pictures of the finished build ``out`` at ``to``, an absent or empty folder or prefix.

    Excluded and counted: faces with unknown label, rejected faces that the recipe only marked, and, unless
    ``everything``, faces of unassigned videos. Pictures and masks are the bytes in the shards. Raises UsageError for an
    unknown ``form``, SemblanceError if ``out`` is unfinished or damaged, or ``to`` is not empty.
    """
    make_writer = FORMATS.find(form)
    build_folder.refuse_inside(out, to)
    description = build_folder.finished(out)
    plan = tables.scan(out, "plan").select("shard", "video_id", "part", "compression").collect()
    parts = dict(plan.select("video_id", "part").iter_rows())
    done = Exported()
    with NewFolder(to, "--to") as folder, TemporaryDirectory(prefix="semblance-") as scratch, ExitStack() as files:
        compressions = frozenset(plan["compression"].drop_nulls())
        writer = make_writer(
            Build(description=description, compressions=compressions, scratch=Path(scratch), files=files)
        )
        for shard in plan["shard"].unique().sort():
            rows = {row["sample_id"]: row for row in _rows(out, shard)}
            if layout.split_of(shard) == "unassigned" and not everything:
                done.left_out["of unassigned videos (--all exports them)"] += len(rows)
                continue
            for picture in _usable(out, shard, rows, parts, done):
                writer.write(picture, folder)
        writer.finish(folder)
    return done


def _rows(out: str, shard: str) -> list[dict[str, Any]]:
    return tables.read_rows(storage.join(out, layout.manifest_path("samples", layout.key_of(shard))))


def _usable(
    out: str, shard: str, rows: dict[str, Any], parts: Mapping[str, str | None], done: Exported
) -> Iterator[Picture]:
    """Stream one shard's usable pictures and count them; every row must have its picture."""
    for name, members in _stream(out, shard) if rows else ():
        row = rows.pop(name, None)
        suffix = next((suffix for suffix in members if suffix in PICTURES), None)
        if row is None or suffix is None or hashlib.sha256(members[suffix]).hexdigest() != row["sha256"]:
            raise _damage(out, f"{name} in {shard} differs from the committed picture")
        if row["face_label"] is None:
            done.left_out["with unknown face label"] += 1
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
