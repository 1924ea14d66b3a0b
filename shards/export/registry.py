"""Pictures out of their shards into folders, for code that reads folders: DeepfakeBench's, or any."""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TextIO, get_args

from semblance.manifests import schema, storage
from semblance.manifests import tables as store
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import make_video_id
from semblance.manifests.storage.staging import NewFolder
from semblance.shards import build_folder, layout
from semblance.shards.card import title
from semblance.shards.export.deepfakebench import DeepfakeBench
from semblance.shards.read import PICTURES, stream

Format = Literal["deepfakebench", "folder"]
MASK: Final = "mask.png"
_LABELS: Final = ("real", "fake")
Row = Mapping[str, Any]


@dataclass(slots=True, kw_only=True)
class Exported:
    """What was written, and how many samples were left out, and why."""

    pictures: Counter[str] = field(default_factory=Counter)  # by split
    masks: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Layout(Protocol):
    """Where pictures go, and what lists them."""

    def picture_path(self, row: Row, suffix: str) -> str: ...

    def mask_path(self, picture: str) -> str: ...

    def tables(self) -> Iterator[tuple[str, bytes | Path]]: ...


def export(out: str, form: str, to: str, *, everything: bool = False) -> Exported:
    """Write the pictures of the finished build ``out`` at ``to``, an absent or empty folder or prefix.

    Left out, and counted: faces of unknown label, rejected ones that the recipe only marked, and, unless
    ``everything``, those that stand on no side. Pictures and masks are the shards' own bytes. Raises UsageError for
    an unknown ``form``, SemblanceError where ``out`` is unfinished or damaged, or ``to`` is not free.
    """
    if form not in get_args(Format):
        raise UsageError(f"There is no format {form!r}; --format takes {', '.join(get_args(Format))}.")
    build_folder.refuse_inside(out, to)
    description = build_folder.finished(out)
    plan = store.scan(out, "plan").select("shard", "video_id", "part", "compression").collect()
    done = Exported()
    with NewFolder(to, "--to") as folder, _spool("manifest.csv") as spool:
        into: Layout
        if form == "deepfakebench":
            actors = {name for _, name, part, _ in plan.iter_rows() if (part or "").split("/")[0] == "actors"}
            into = DeepfakeBench(description, plan["compression"].drop_nulls().n_unique() > 1, actors)
        else:
            into = Folders(description, spool)
        for shard in plan["shard"].unique().sort():
            rows = {row["sample_id"]: row for row in _rows(out, shard)}
            if layout.split_of(shard) == "unassigned" and not everything:
                done.left_out["on no side (--all exports them)"] += len(rows)
            elif rows:
                _write(out, shard, rows, into, folder, done)
        for path, content in into.tables():
            if isinstance(content, Path):
                folder.put_file(path, str(content))
            else:
                folder.put(path, content, last=True)
    return done


@contextmanager
def _spool(name: str) -> Iterator[TextIO]:
    """A text file for what grows too large to hold."""
    with (
        tempfile.TemporaryDirectory(prefix="semblance-") as folder,
        (Path(folder) / name).open("w", newline="", encoding="utf-8") as file,
    ):
        yield file


def _rows(out: str, shard: str) -> list[dict[str, Any]]:
    return store.read_rows(storage.join(out, layout.manifest_path("samples", layout.key_of(shard))))


def _write(out: str, shard: str, rows: dict[str, Any], into: Layout, folder: NewFolder, done: Exported) -> None:
    """Stream one shard into the folder; every row must come."""
    for name, parts in _stream(out, shard):
        row = rows.pop(name, None)
        suffix = next((suffix for suffix in parts if suffix in PICTURES), None)
        if row is None or suffix is None or hashlib.sha256(parts[suffix]).hexdigest() != row["sha256"]:
            raise _damage(out, f"{name} in {shard} is not what was committed")
        if row["face_label"] is None:
            done.left_out["of unknown label"] += 1
        elif row["verdict"] != "keep":
            done.left_out["rejected and only marked"] += 1
        else:
            path = into.picture_path(row, suffix)
            folder.put(path, parts[suffix])
            done.pictures[row["split"]] += 1
            if MASK in parts:
                folder.put(into.mask_path(path), parts[MASK])
                done.masks += 1
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


class Folders:
    """``<split>/<real or fake>/<method>/<video>/<frame>-<track>.jpg``, listed with all columns in manifest.csv."""

    def __init__(self, description: Mapping[str, Any], spool: TextIO) -> None:
        self._description = description
        self._spool = spool
        self._table = csv.DictWriter(spool, ["path", *schema.SAMPLES.names], lineterminator="\n")
        self._table.writeheader()

    def picture_path(self, row: Row, suffix: str) -> str:
        method = make_video_id(row["method"] or "unknown")
        video = make_video_id(row["video_id"])
        number = f"{row['frame_index']:06d}-{row['track'] or 0:02d}"
        path = f"{row['split']}/{_LABELS[row['face_label']]}/{method}/{video}/{number}.{suffix}"
        cells = {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
        self._table.writerow({"path": path} | cells)
        return path

    def mask_path(self, picture: str) -> str:
        return f"{picture.rpartition('.')[0]}.{MASK}"

    def tables(self) -> Iterator[tuple[str, bytes | Path]]:
        self._spool.flush()
        told = self._description
        text = f"""# {title(told)}, pictures exported by Semblance

From the build `{told["fingerprint"]}`, recipe `{told["recipe"]["name"]}`, split `{told["split"]}`.
`<split>/<real or fake>/<method>/<video>/<frame>-<track>`; manifest.csv tells all that is known of each picture.

## Terms
{told["datasheet"]["terms"]}

{told["datasheet"]["citation"]}
"""
        yield "manifest.csv", Path(self._spool.name)
        yield "README.md", text.encode()
