"""Export format: pictures in folders by split, label, method and video, with a table of all columns."""

from __future__ import annotations

import csv
import json
from typing import Final

from semblance.manifests import schema
from semblance.manifests.ids import make_video_id
from semblance.manifests.storage.staging import NewFolder
from semblance.shards.card import title
from semblance.shards.export.registry import MASK, Build, Format, Picture, register

_LABELS: Final = ("real", "fake")
_TABLE: Final = "manifest.csv"


@register
class Folders(Format):
    """``<split>/<real or fake>/<method>/<video>/<frame>-<track>.jpg``, listed with all columns in manifest.csv."""

    name = "folder"
    summary = "folders and a CSV table"

    def __init__(self, build: Build) -> None:
        self._description = build.description
        self._file = build.spool(_TABLE)
        self._table = csv.DictWriter(self._file, ["path", *schema.SAMPLES.names], lineterminator="\n")
        self._table.writeheader()

    def write(self, picture: Picture, folder: NewFolder) -> None:
        row = picture.row
        method = make_video_id(row["method"] or "unknown")
        video = make_video_id(row["video_id"])
        number = f"{row['frame_index']:06d}-{row['track'] or 0:02d}"
        stem = f"{row['split']}/{_LABELS[row['face_label']]}/{method}/{video}/{number}"
        folder.put(f"{stem}.{picture.suffix}", picture.data)
        if picture.mask is not None:
            folder.put(f"{stem}.{MASK}", picture.mask)
        cells = {name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()}
        self._table.writerow({"path": f"{stem}.{picture.suffix}"} | cells)

    def finish(self, folder: NewFolder) -> None:
        self._file.flush()
        folder.put_file(_TABLE, self._file.name)
        about = self._description
        text = f"""# {title(about)}, pictures exported by Semblance

From the build `{about["fingerprint"]}`, recipe `{about["recipe"]["name"]}`, split `{about["split"]}`.
`<split>/<real or fake>/<method>/<video>/<frame>-<track>`; manifest.csv has all columns of every picture.

## Terms
{about["datasheet"]["terms"]}

{about["datasheet"]["citation"]}
"""
        folder.put("README.md", text.encode(), last=True)
