"""What to do about videos without a kept crop and about fakes' faces without a label: a sentence for each cause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

REJECTED: Final = "every face rejected"  # why a video has no kept crop, beside its status
COMPARED: Final = "not clearly changed"  # why a kept face of a fake has no label, beside the reasons of column guide
MOMENT: Final = "another moment"
UNGUIDED: Final = "guides off"
_FILES: Final = "replace the files, and run the same `ingest build` with `--retry failed`"
_LOST: Final[Mapping[str, str]] = MappingProxyType(
    {
        REJECTED: (
            "`quality sheet OUT --to rejected.png --rejects` shows the rejected faces, and `quality thresholds OUT` "
            "what other limits would keep"
        ),
        "no_face": (
            "no sampled frame shows a face that the detector finds: look at the videos; `detect.min_face` says how "
            "small a face it looks for"
        ),
        "missing": f"listed, but not on disk: {_FILES}",
        "empty": f"no bytes, no video stream or no frames: {_FILES}",
        "decode_error": f"nothing can be decoded: {_FILES}",
        "partial": f"damaged: {_FILES}",
        "timeout": "column error of videos names the limit to raise, together with `--retry failed`",
        "oom": "column error of videos names the limit to raise, together with `--retry failed`",
        "crashed": "the process died: run the same `ingest build` with `--retry failed`",
        "hdr": "`--set decode.hdr=tonemap` and a new --out read them",
        "unlabelled": "give their label in the source's table, and build to a new --out",
    }
)
REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "no_original": "no original in the collection",
        "size": "another picture size than the original",
        "fps": "another frame rate than the original",
        "longer": "longer than the original",
        "content": "shows something else than the original, or is out of time with it",
        MOMENT: "shown at another moment than in the original",
        UNGUIDED: "`guide.use` was off",
    }
)
_MASKS: Final = "Masks, where the dataset has them, label more faces (`--set masks=true`)."


def of_lost(causes: Iterable[str]) -> str:
    """The advice for these causes, each sentence once; columns of videos hold the rest."""
    advice: dict[str, list[str]] = {}
    for cause in causes:
        if cause in _LOST:
            advice.setdefault(_LOST[cause], []).append(cause)
    return " ".join(f"{', '.join(names)}: {words}." for words, names in advice.items())


def of_unlabelled(reasons: Iterable[str], *, masks: bool) -> str:
    """The advice for faces without a label for these reasons; ``masks``: the build asked for the dataset's masks."""
    return " ".join(_of_unlabelled(list(reasons), masks=masks))


def _of_unlabelled(reasons: list[str], *, masks: bool) -> Iterator[str]:
    yield "Training leaves these crops out."
    if COMPARED in reasons:
        yield "Those not clearly changed are untouched persons, or forgeries too faint for this compression."
    if words := [f"{name}: {REFUSED[name]}" for name in reasons if name in REFUSED]:
        yield f"Not compared for {'; '.join(words)}."
    if "no_original" in reasons:
        yield "Originals in the same collection guide their fakes: add them."
    if {"size", "fps", "longer", "content"}.intersection(reasons):
        yield "A fake is compared only with the very video that it was made from, neither resized nor cut."
    if not masks:
        yield _MASKS


def why_unlabelled(reasons: Iterable[tuple[str, int]]) -> str:
    """``compared with the original and not clearly changed 40, not compared: fps 14, size 10``."""
    counts = dict(reasons)
    compared = counts.pop(COMPARED, 0)
    parts = [f"compared with the original and not clearly changed {compared:,}"] if compared else []
    if counts:
        parts.append(f"not compared: {', '.join(f'{name} {count:,}' for name, count in counts.items())}")
    return ", ".join(parts)
