"""DeepfakeBench's folders and JSON, as its own code reads them.

From SCLBD/DeepfakeBench: ``training/dataset/abstract_dataset.py`` opens ``<dataset_json_folder>/<name>.json`` and
reads ``[name][label][mode]`` for every label of it, so each must have every mode; for names that are not its own
FF++ ones there is no level of compressions below. A frame's file name is a whole number before the first dot. A path
that begins with ``.`` is opened as it stands, from the folder in which DeepfakeBench runs; a mask is looked for where
``masks`` stands for ``frames`` in the path, under the same file name. ``training/metrics/utils.py`` takes the folder
above a frame for its video. The names of labels are those of ``preprocessing/rearrange.py`` and of ``label_dict`` in
``training/config/train_config.yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from semblance.manifests.records import TRAIN_VAL_TEST, make_video_id
from semblance.shards.card import title

REAL, FAKE = 0, 1
# Dataset -> label of reals, label of fakes by method; None: of every other fake.
_LABELS: Final[dict[str, tuple[str, dict[str | None, str]]]] = {
    "ffpp": (
        "FF-real",
        {
            "Deepfakes": "FF-DF",
            "Face2Face": "FF-F2F",
            "FaceSwap": "FF-FS",
            "NeuralTextures": "FF-NT",
            "FaceShifter": "FF-FH",
            "DeepFakeDetection": "DFD_fake",
        },
    ),
    "celebdf": ("CelebDFv2_real", {None: "CelebDFv2_fake"}),
    "dfdc": ("DFDC_Real", {None: "DFDC_Fake"}),
    "dfdc-preview": ("DFDCP_Real", {"method_A": "DFDCP_FakeA", "method_B": "DFDCP_FakeB"}),
}
_ACTORS_REAL: Final = "DFD_real"  # FF++'s reals of DeepFakeDetection
Row = Mapping[str, Any]


class DeepfakeBench:
    """The layout ``rgb/<name>/<label>/frames/<video>/<number>.jpg`` with ``dataset_json/<name>.json``.

    ``name`` is ``<dataset>-semblance``, with the compression in it where the build has several.
    ``actors``: ids of videos in FF++'s folder of DeepFakeDetection's actors.
    """

    def __init__(self, description: Mapping[str, Any], several: bool, actors: Collection[str]) -> None:
        self._description = description
        self._dataset: str = description["dataset"]
        self._several = several
        self._actors = actors
        self._found: dict[str, dict[str, dict[str, dict[str, list[str]]]]] = {}
        self._own: dict[str, int] = {}  # labels that DeepfakeBench does not know
        self._masks = False

    def picture_path(self, row: Row, suffix: str) -> str:
        """Relative to the export; called once a picture, which it takes down for the JSON."""
        name, label = self._name(row["compression"]), self._label(row)
        video = make_video_id(row["video_id"])
        number = f"{row['frame_index']:06d}{row['track'] or 0:02d}"
        path = f"rgb/{name}/{label}/frames/{video}/{number}.{suffix}"
        sides = self._found.setdefault(name, {}).setdefault(label, {mode: {} for mode in TRAIN_VAL_TEST})
        sides.setdefault(row["split"], {}).setdefault(video, []).append(f"./datasets/{path}")
        return path

    def mask_path(self, picture: str) -> str:
        """Where their loader looks for it: a PNG under the picture's file name (OpenCV goes by content)."""
        self._masks = True
        return picture.replace("frames", "masks")

    def tables(self) -> Iterator[tuple[str, bytes]]:
        """The JSON of each dataset, and README.md."""
        for name, labels in sorted(self._found.items()):
            value = {
                label: {
                    side: {
                        video: {"label": label, "frames": sorted(frames)} for video, frames in sorted(videos.items())
                    }
                    for side, videos in sides.items()
                }
                for label, sides in sorted(labels.items())
            }
            yield f"dataset_json/{name}.json", json.dumps({name: value}).encode()
        yield "README.md", self._readme().encode()

    def _name(self, compression: str | None) -> str:
        level = [compression] if self._several and compression else []
        return make_video_id(self._dataset, *level, "semblance")

    def _label(self, row: Row) -> str:
        real, fakes = _LABELS.get(self._dataset, (f"{self._dataset}_real", {}))
        if row["face_label"] == REAL:
            label = _ACTORS_REAL if row["video_id"] in self._actors else real
        else:
            known = fakes.get(row["method"]) or fakes.get(None)
            label = known or f"{self._dataset}_{make_video_id(row['method'] or 'fake')}"
        if label.startswith(f"{self._dataset}_"):
            self._own[label] = row["face_label"]
        return label

    def _readme(self) -> str:
        told = self._description
        names = ", ".join(f"`{name}`" for name in sorted(self._found)) or "none (no picture was exported)"
        notes = [
            "A frame's number is its frame index with two digits for the track behind it, so the faces of one frame "
            "stay apart; the folder above it is its video."
        ]
        if self._own:
            lines = "".join(f"  {label}: {value}\n" for label, value in sorted(self._own.items()))
            notes.append(
                "DeepfakeBench does not know these labels: add them to `label_dict` in `train_config.yaml` and "
                f"`test_config.yaml`.\n\n```\n{lines}```"
            )
        if self._masks:
            notes.append(
                "Masks lie in `masks/` beside `frames/`, as PNGs under the pictures' names (OpenCV goes by content); "
                "where one lacks, `with_mask: true` reads zeros."
            )
        return _README.format(
            title=title(told),
            names=names,
            fingerprint=told["fingerprint"],
            recipe=told["recipe"]["name"],
            split=told["split"],
            notes="\n\n".join(notes),
            terms=told["datasheet"]["terms"],
            citation=told["datasheet"]["citation"],
        )


_README: Final = """# {title} for DeepfakeBench, exported by Semblance

Datasets: {names}. From the build `{fingerprint}`, recipe `{recipe}`, split `{split}`.

## Use
From this folder, where `DeepfakeBench` is its checkout:

```
mkdir -p DeepfakeBench/datasets/rgb
cp -r rgb/* DeepfakeBench/datasets/rgb/
cp dataset_json/*.json DeepfakeBench/preprocessing/dataset_json/
```

Run DeepfakeBench from its own folder, with `lmdb: false`, `with_landmark: false`, and the names above in
`train_dataset` and `test_dataset`.

{notes}

## What figures mean
- They compare with DeepfakeBench's table only when this was built by the recipe `deepfakebench` and laid out by the
  split `official`. Even then geometry and frames are reproduced, not pixels, since the detectors differ.
- Detectors that need 81 landmarks (Face X-ray, FWA and others that blend or warp faces) cannot use this export: it has
  none, and DeepfakeBench's loader would silently take zeros for them.
- DeepfakeBench trains on `train` and chooses checkpoints by `test`; it never reads `val`, which is here for those who
  mend that.

## Terms
{terms}

{citation}
"""
