"""The label of each face of a fake, and the rule that gave it: an untouched face must never be called altered."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from semblance.ingest.records import Seen
from semblance.ingest.steps.boxes import one_face
from semblance.ingest.steps.pairing import GuideConfig
from semblance.manifests.records import Box

Rule = Literal["real", "only_face", "mask", "change"]

_MASKED: Final = 0.05  # of the face box that a mask covers where the face is altered
_SAME: Final = 0.05  # grey levels in the mean: equal pictures; mere re-encoding changes some 0.8
_FEW: Final = 4  # frames with both persons, below which a comparison says nothing
_OFTEN: Final = 0.9  # of these frames: how often the altered face must have changed more
_FAR: Final = 3.0  # times: a person that changed so much less than another one is not called altered


class FaceLabel(NamedTuple):
    """The label of a face, 0 or 1, and the rule behind it; both None where nobody knows."""

    label: int | None
    by: Rule | None


UNKNOWN: Final = FaceLabel(None, None)


def face_labels(
    label: int | None, seen: Sequence[Seen], confidence: float | None, config: GuideConfig
) -> dict[int | None, FaceLabel]:
    """The label of each person of a video; None stands for faces that are perhaps none.

    In a real video all are 0. In a fake the first rule that decides gives 1. ``only_face``: no sampled frame shows two
    faces of at least this ``confidence``, and the person is neither shown exactly as in the original nor left as she
    was while another one, before or after her, was changed. ``mask``: the dataset's mask covers the person's face.
    ``change``: the person's median ``change_peak`` exceeds ``config.change_peak``, or is ``config.clear`` times that of
    the person who changed least, in nearly all frames that show both. Everybody else is unknown: in a fake, a face that
    no rule calls altered may still be.
    """
    persons = list(dict.fromkeys(one.person for one in seen if one.image is not None))
    if label != 1:
        return dict.fromkeys(persons, FaceLabel(0, "real") if label == 0 else UNKNOWN)
    known = [person for person in persons if person is not None]
    changed = _changes(seen)
    if not several(seen, confidence):
        untouched = _left_behind(known, changed, config) | _identical(seen)
        return {person: UNKNOWN if person in untouched else FaceLabel(1, "only_face") for person in persons}
    masked = {person: FaceLabel(1, "mask") for person in known if _covered(person, seen)}
    altered = {person: FaceLabel(1, "change") for person in _altered(changed, config)}
    return dict.fromkeys(persons, UNKNOWN) | altered | masked


def several(seen: Iterable[Seen], confidence: float | None) -> bool:
    """Whether any frame shows two faces of at least this confidence, at two places."""
    by_frame: dict[int, list[Box]] = {}
    for one in seen:
        if one.face is None or one.person is None or one.face.confidence < (confidence or 0.0):
            continue
        boxes = by_frame.setdefault(one.frame_index, [])
        if not all(one_face(box, one.face.box) for box in boxes):
            return True
        boxes.append(one.face.box)
    return False


Changes = Mapping[int, Mapping[int, float]]  # person -> frame index -> change_peak


def _changes(seen: Iterable[Seen]) -> Changes:
    found: dict[int, dict[int, float]] = {}
    for one in seen:
        if one.person is not None and one.measures is not None and one.measures.change_peak is not None:
            found.setdefault(one.person, {})[one.frame_index] = one.measures.change_peak
    return found


def _altered(changes: Changes, config: GuideConfig) -> set[int]:
    """Persons of the same frames who changed more than re-encoding explains, or clearly more than another one."""
    medians = {person: statistics.median(values.values()) for person, values in changes.items()}
    if not medians:
        return set()
    most = max(medians.values())
    over = {person for person, value in medians.items() if value > config.change_peak and value * _FAR >= most}
    least = min(medians, key=lambda person: medians[person])
    return over | {person for person in changes if _stands_clear(changes[person], changes[least], config)}


def _stands_clear(values: Mapping[int, float], others: Mapping[int, float], config: GuideConfig) -> bool:
    both = values.keys() & others.keys()
    if len(both) < _FEW:
        return False
    more = sum(values[index] > others[index] for index in both)
    ratio = statistics.median(values[index] for index in both) / statistics.median(others[index] for index in both)
    return more >= _OFTEN * len(both) and ratio >= config.clear


def _left_behind(persons: Sequence[int], changes: Changes, config: GuideConfig) -> set[int]:
    """Of persons who appear one after the other: those who changed clearly less than another one, under the limit."""
    if len(persons) < 2 or any(person not in changes for person in persons):
        return set()
    medians = {person: statistics.median(changes[person].values()) for person in persons}
    most = max(medians.values())
    return {person for person, value in medians.items() if value <= config.change_peak and value * config.clear <= most}


def _identical(seen: Iterable[Seen]) -> set[int]:
    """Persons none of whose crops differs from the original's: the fake is a copy of it, or has another sound alone."""
    change: dict[int, float] = {}
    for one in seen:
        if one.person is not None and one.measures is not None and one.measures.change is not None:
            change[one.person] = max(change.get(one.person, 0.0), one.measures.change)
    return {person for person, most in change.items() if most < _SAME}


def _covered(person: int, seen: Iterable[Seen]) -> bool:
    """Whether the mask covers the face in the median of the person's crops that have one."""
    shares = [_share(one) for one in seen if one.person == person and one.mask is not None]
    return bool(shares) and statistics.median(shares) >= _MASKED


def _share(one: Seen) -> float:
    """The part of the face box that the mask covers; of the whole crop where the box is unknown."""
    assert one.mask is not None
    mask = one.mask
    if one.face is not None and one.geometry is not None:
        scale = mask.shape[0] / one.geometry.side
        origin = (one.geometry.x0, one.geometry.y0) * 2
        x0, y0, x1, y1 = (
            int(np.clip((value - start) * scale, 0, mask.shape[0]))
            for value, start in zip(one.face.box, origin, strict=True)
        )
        mask = mask[y0:y1, x0:x1]
    return float((mask > 127).mean()) if mask.size else 0.0
