"""Export format: the folders and JSON that DeepfakeBench reads.

From SCLBD/DeepfakeBench: ``training/dataset/abstract_dataset.py`` opens ``<dataset_json_folder>/<name>.json`` and
reads ``[name][label][mode]`` for every label in it, so each must have every mode. Except for its own FF++ names,
there is no level of compressions below. A frame's file name is an integer before the first dot. A path that begins
with ``.`` is opened unchanged, from the folder in which DeepfakeBench runs. The path of a mask is that of the picture
with ``masks`` in place of ``frames``. ``training/metrics/utils.py`` uses the folder of a frame as its video, clip
detectors take neighbouring files of a folder as one clip, and ``frame_num`` takes the first files. So each person of a
video has a folder. The names of labels are those of ``preprocessing/rearrange.py`` and of ``label_dict`` in
``training/config/train_config.yaml``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from semblance.manifests.datasets import DATASETS, Labels
from semblance.manifests.ids import make_video_id
from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.manifests.storage.staging import NewFolder
from semblance.shards.card import title
from semblance.shards.export.registry import Build, Format, Picture, register

REAL: Final = 0


@register
class DeepfakeBench(Format):
    """The layout ``rgb/<name>/<label>/frames/<video>/<number>.jpg`` with ``dataset_json/<name>.json``.

    ``name`` is ``<dataset>-semblance``, with the compression in it if the build has several.
    """

    name = "deepfakebench"
    summary = "its folders and JSON"

    def __init__(self, build: Build) -> None:
        self._description = build.description
        self._dataset: str = build.description["dataset"]
        self._several = len(build.compressions) > 1
        info = DATASETS.get(self._dataset)
        self._labels: Labels | None = info.labels.get(self.name) if info else None
        self._frames: dict[str, dict[str, dict[str, dict[str, list[str]]]]] = {}
        self._unknown_labels: dict[str, int] = {}  # labels that DeepfakeBench does not have
        self._masks = False

    def write(self, picture: Picture, folder: NewFolder) -> None:
        row = picture.row
        name, label = self._name(row["compression"]), self._label(picture)
        video = make_video_id(row["video_id"], *_person(row))
        number = f"{row['frame_index']:06d}{row['track'] or 0:02d}"
        path = f"rgb/{name}/{label}/frames/{video}/{number}.{picture.suffix}"
        modes = self._frames.setdefault(name, {}).setdefault(label, {mode: {} for mode in TRAIN_VAL_TEST})
        modes.setdefault(row["split"], {}).setdefault(video, []).append(f"./datasets/{path}")
        folder.put(path, picture.data)
        if picture.mask is not None:  # where its loader expects it: a PNG under the picture's file name
            self._masks = True
            folder.put(path.replace("frames", "masks"), picture.mask)

    def finish(self, folder: NewFolder) -> None:
        for name, labels in sorted(self._frames.items()):
            value = {
                label: {
                    mode: {
                        video: {"label": label, "frames": sorted(frames)} for video, frames in sorted(videos.items())
                    }
                    for mode, videos in modes.items()
                }
                for label, modes in sorted(labels.items())
            }
            folder.put(f"dataset_json/{name}.json", json.dumps({name: value}).encode(), last=True)
        folder.put("README.md", self._readme().encode(), last=True)

    def _name(self, compression: str | None) -> str:
        level = [compression] if self._several and compression else []
        return make_video_id(self._dataset, *level, "semblance")

    def _label(self, picture: Picture) -> str:
        row, labels = picture.row, self._labels
        if row["face_label"] == REAL:
            label = labels and labels.of_real(picture.part)
            suffix = "real"
        else:
            label = labels and labels.of_fake(row["method"])
            suffix = make_video_id(row["method"] or "fake")
        if not label:
            label = f"{self._dataset}_{suffix}"
            self._unknown_labels[label] = row["face_label"]
        return label

    def _readme(self) -> str:
        description = self._description
        names = ", ".join(f"`{name}`" for name in sorted(self._frames)) or "none (no picture was exported)"
        notes = [
            "A frame's number is its frame index followed by two digits for the track. Each person of a video has a "
            "folder: the first is named after the video, others end in `-p01` and so on (`-t01` by track, where a "
            "build knows no persons). DeepfakeBench takes a folder for a video, so its figures by video are by person."
        ]
        if self._unknown_labels:
            lines = "".join(f"  {label}: {value}\n" for label, value in sorted(self._unknown_labels.items()))
            notes.append(
                "DeepfakeBench does not have these labels: add them to `label_dict` in `train_config.yaml` and "
                f"`test_config.yaml`.\n\n```\n{lines}```"
            )
        if self._masks:
            notes.append(
                "Masks are in `masks/` next to `frames/`, as PNGs under the names of the pictures (OpenCV detects the "
                "format); for a missing mask, `with_mask: true` reads zeros."
            )
        return _README.format(
            title=title(description),
            names=names,
            fingerprint=description["fingerprint"],
            recipe=description["recipe"]["name"],
            split=description["split"],
            notes="\n\n".join(notes),
            terms=description["datasheet"]["terms"],
            citation=description["datasheet"]["citation"],
        )


def _person(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a video's persons apart in names: nothing for the first."""
    person, track = row.get("person"), row["track"] or 0
    kind, number = ("t", track) if person is None else ("p", person)
    return (f"{kind}{number:02d}",) if number else ()


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
`train_dataset` and `test_dataset`. Under albumentations 2 its code stops, and once repaired loses its JPEG augmentation
and augments the frames of a clip differently: docs/deepfakebench.md of Semblance has the changes.

{notes}

## How to read results
- They are comparable with DeepfakeBench's table only if the build used the recipe `deepfakebench` and the split
  `official`. Even then geometry and frames are reproduced, not pixels, since the detectors differ.
- Detectors that need 81 landmarks (Face X-ray, FWA and others that blend or warp faces) cannot use this export: it has
  none, and DeepfakeBench's loader would silently use zeros for them.
- DeepfakeBench trains on `train` and selects checkpoints on `test`; it never reads `val`, which is included for those
  who fix that.

## Terms
{terms}

{citation}
"""
