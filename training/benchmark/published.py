"""Figures that others published, shown apart from what is measured here; each with its source.

All models were trained on FF++ c23. Figures are AUC. ``told``: authors (their paper or README), logs (their public
logs), notes (notes of others on the paper, not checked against it). Whether a checkpoint was chosen on the test data
is recorded where a source says so; ``by its code``: the published training code keeps the one best on test sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Told = Literal["authors", "logs", "notes"]
Chosen = Literal["yes", "no", "by its code", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published figure. ``most``: the upper end where a source gives a range, else None."""

    method: str
    dataset: str
    auc: float
    most: float | None
    level: Literal["frame", "video"]
    source: str
    told: Told
    chosen_on_test: Chosen = "unknown"


Figure = float | tuple[float, float]
_BENCH: Final = "DeepfakeBench README"
_TABLE: Final[tuple[tuple[str, str, Told, Literal["frame", "video"], dict[str, Figure]], ...]] = (
    (
        "DiCoME (ICML 2026)",
        "arXiv 2606.01885",
        "notes",
        "video",
        {"Celeb-DF v2": 0.977, "DFDC": 0.882, "DF40": 0.976},
    ),
    (
        "DiCoME, rerun",
        "public logs",
        "logs",
        "video",
        {
            "Celeb-DF v2": (0.955, 0.965),
            "DFDC": (0.877, 0.883),
            "DFDC preview": (0.848, 0.857),
            "DFD": 0.942,
            "Deepfake-Eval-2024": (0.685, 0.692),
        },
    ),
    (
        "GenD (WACV 2026)",
        "GenD paper; BiasConsist README",
        "notes",
        "video",
        {"Celeb-DF v2": 0.960, "DFDC": 0.871, "DFDC preview": 0.917, "DFD": 0.970, "DF40": (0.957, 0.958)},
    ),
    (
        "BiasConsist",
        "BiasConsist README",
        "authors",
        "video",
        {"Celeb-DF v2": 0.966, "DFDC": 0.847, "DFDC preview": 0.868, "DFD": 0.979, "DF40": 0.968},
    ),
    (
        "ForAda (CVPR 2025)",
        "ForensicsAdapter README",
        "authors",
        "video",
        {"Celeb-DF v2": 0.957, "DFDC": 0.872, "DFDC preview": 0.929, "DFD": 0.972},
    ),
    (
        "ForAda (CVPR 2025)",
        "ForensicsAdapter README",
        "authors",
        "frame",
        {"Celeb-DF v2": 0.900, "DFDC": 0.843, "DFDC preview": 0.890, "DFD": 0.933},
    ),
    (
        "Effort (ICML 2025)",
        "Effort README",
        "authors",
        "video",
        {"Celeb-DF v2": 0.956, "DFDC": 0.843, "DFDC preview": 0.909, "DFD": 0.965, "DF40": 0.940},
    ),
    (
        "FSFM ViT-B (CVPR 2025)",
        "FSFM paper",
        "notes",
        "video",
        {"Celeb-DF v2": 0.914, "DFDC": 0.835, "DFDC preview": 0.897},
    ),
    (
        "Xception",
        _BENCH,
        "authors",
        "frame",
        {"FF++ c23": 0.964, "Celeb-DF v2": 0.737, "DFDC": 0.708, "DFDC preview": 0.737},
    ),
    (
        "EfficientNet-B4",
        _BENCH,
        "authors",
        "frame",
        {"FF++ c23": 0.957, "Celeb-DF v2": 0.749, "DFDC": 0.696, "DFDC preview": 0.728},
    ),
)
DATASETS: Final = ("FF++ c23", "Celeb-DF v2", "DFDC", "DFDC preview", "DFD", "DF40", "Deepfake-Eval-2024")


def figures() -> Iterator[Published]:
    """Every figure, one at a time."""
    for method, source, told, level, aucs in _TABLE:
        for dataset in DATASETS:
            if (found := aucs.get(dataset)) is not None:
                low, most = found if isinstance(found, tuple) else (found, None)
                yield Published(
                    method=method,
                    dataset=dataset,
                    auc=low,
                    most=most,
                    level=level,
                    source=source,
                    told=told,
                    chosen_on_test="by its code" if source == _BENCH else "unknown",
                )
