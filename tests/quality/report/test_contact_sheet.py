"""Contact sheets show the crops that the table names."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from semblance import manifests
from semblance.quality import codec
from semblance.quality.report import contact_sheet
from semblance.shards import read
from tests.conftest import Run


def test_the_sheet_holds_the_pictures(built: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    said = run("quality", "sheet", built, "--to", file, "--most", 25).stdout
    assert "25 faces" in said
    drawn = codec.decode(file.read_bytes())
    found = contact_sheet.rows(str(built), table="samples", where=None, most=25)
    assert [row["sample_id"] for row in found] == sorted(row["sample_id"] for row in found)
    for place in (0, 13, 24):
        y, x = 20 + place // 10 * contact_sheet.pitch_of(found), place % 10 * contact_sheet.CELL
        picture = codec.decode(read.fetch(str(built), found[place]))
        small = cv2.resize(picture, (contact_sheet.CELL, contact_sheet.CELL), interpolation=cv2.INTER_AREA)
        assert np.array_equal(drawn[y : y + contact_sheet.CELL, x : x + contact_sheet.CELL], small)
    assert drawn[:20].min() == 0, "no banner says that the demo is synthetic"


def test_a_caption_tells_the_face_label_and_the_whole_id() -> None:
    row = {"sample_id": "folder-videos-duo_shake_swap-000123-0", "split": "test", "label": 1, "person": 1}
    unknown = contact_sheet.caption(row | {"face_label": None, "face_label_by": None})
    assert unknown[:3] == ["fake test", "person 1", "no face label"]
    assert "".join(unknown[3:]) == row["sample_id"]
    altered = contact_sheet.caption(row | {"face_label": 1, "face_label_by": "change", "reason": "small"})
    assert altered[:3] == ["small test", "person 1", "altered (change)"]
    real = contact_sheet.caption(row | {"label": 0, "face_label": 0, "face_label_by": "real", "person": None})
    assert real[0] == "real test"
    assert "".join(real[1:]) == row["sample_id"]


def test_a_condition_chooses(built: Path, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "sheet.jpg"
    split = manifests.scan(str(built)).collect()["split"][0]
    run("quality", "sheet", built, "--to", file, "--where", f"split = '{split}' AND label = 1")
    for words, code, part in (
        (("--where", "nonsense = 1"), 1, "is not valid"),
        (("--where", "label = 7"), 1, "has no pictures that match"),
    ):
        assert part in run("quality", "sheet", built, "--to", file, *words, expect=code).stderr
    assert "must end in" in run("quality", "sheet", built, "--to", tmp_path / "sheet.gif", expect=2).stderr
