"""Contact sheets: crops of a build on one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import cv2
import numpy as np
import polars as pl

from semblance.manifests import build_files, scan
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import digest
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.quality.report.gallery import whose
from semblance.shards import read

CELL: Final = 112  # px
_LINE: Final = 11  # px of a line of a caption
_SIZE: Final = 0.6  # of its letters
_BANNER: Final = 20  # px above a synthetic collection


def rows(out: str, *, table: str, where: str | None, most: int) -> list[dict[str, Any]]:
    """At most ``most`` rows with a picture, spread over the videos by hash, in the order of their ids.

    ``where`` is a SQL condition on the table; raises SemblanceError if it is not valid.
    """
    frame = scan(out, "rejects" if table == "rejects" else "samples").filter(pl.col("tar_offset").is_not_null())
    if where:
        try:
            frame = pl.SQLContext({"rows": frame}).execute(f"SELECT * FROM rows WHERE {where}")
        except pl.exceptions.PolarsError as error:
            raise SemblanceError(f"The condition {where!r} is not valid: {str(error).splitlines()[0]}.") from error
    try:
        found = frame.collect().to_dicts()
    except pl.exceptions.PolarsError as error:
        raise SemblanceError(f"The condition {where!r} is not valid: {str(error).splitlines()[0]}.") from error
    chosen = sorted(found, key=lambda row: digest(row["sample_id"]))[:most]
    return sorted(chosen, key=lambda row: str(row["sample_id"]))


def draw(out: str, found: list[dict[str, Any]], columns: int = 10) -> Image:
    """The rows' pictures in a grid, each with its label, face label and id under it: (H, W, 3) RGB."""
    if not found:
        raise SemblanceError(f"{out} has no pictures that match; change the condition.")
    captions, pitch = [caption(row) for row in found], pitch_of(found)
    lines = -(-len(found) // columns)
    synthetic = bool(build_files.description(out).get("synthetic"))
    top = _BANNER if synthetic else 0
    sheet = np.full((top + lines * pitch, columns * CELL, 3), 255, np.uint8)
    if synthetic:
        _write(sheet, "SYNTHETIC: nobody here exists", (2, top - 5), 1.0)
    for place, row in enumerate(found):
        y, x = top + place // columns * pitch, place % columns * CELL
        picture = codec.decode(read.fetch(out, row))
        sheet[y : y + CELL, x : x + CELL] = cv2.resize(picture, (CELL, CELL), interpolation=cv2.INTER_AREA)
        for line, text in enumerate(captions[place], start=1):
            _write(sheet, text, (x + 2, y + CELL + _LINE * line), _SIZE)
    return sheet


def pitch_of(found: Sequence[dict[str, Any]]) -> int:
    """Height of a cell with its caption, px: the same for all of a sheet."""
    return CELL + 4 + _LINE * max(len(caption(row)) for row in found)


def caption(row: dict[str, Any]) -> list[str]:
    """Lines that fit under a cell: label or reason and split, what is known of the face, and the whole id."""
    kind = row.get("reason") or {0: "real", 1: "fake"}.get(row["label"], "unlabelled")
    texts = [f"{kind} {row['split']}", *whose(row), str(row["sample_id"])]
    return [line for text in texts for line in _wrapped(text)]


def _wrapped(text: str) -> Iterator[str]:
    """The text in pieces that are no wider than a cell."""
    while text:
        fit = len(text)
        while fit > 1 and cv2.getTextSize(text[:fit], cv2.FONT_HERSHEY_PLAIN, _SIZE, 1)[0][0] > CELL - 4:
            fit -= 1
        yield text[:fit]
        text = text[fit:]


def _write(sheet: Image, text: str, place_xy: tuple[int, int], size: float) -> None:
    cv2.putText(sheet, text, place_xy, cv2.FONT_HERSHEY_PLAIN, size, (0, 0, 0), 1, cv2.LINE_AA)
