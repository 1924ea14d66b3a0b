"""A user's own collection with people, methods, recordings, dates and a published split: every protocol exists."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Run, once

SETTINGS = (
    *("--set", "source.table=videos.csv", "--set", "sampling.n=3", "--set", "shards.target_bytes=150000"),
    *("--set", "split.fractions=[0.5,0.25,0.25]", "--set", "gates.blur=150"),
    *("--set", "gates.mode=mark"),
)


@pytest.fixture(scope="session")
def collection(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's clips twice, as two takes of each scene: 8 families, two methods, donors from the next scenes.

    The published split has every first copy in train, and the second ones in train, val, test and nowhere; so
    recordings and people stand on two of its sides.
    """
    return once(tmp_path_factory, "videos", lambda root: _collect(demo, root))


def _collect(demo: Path, root: Path) -> None:
    rows = []
    scenes = {
        name: (note.get("original", name), part.parent)
        for part in sorted(demo.rglob("metadata.json"))
        for name, note in json.loads(part.read_text()).items()
    }
    families = sorted({original for original, _ in scenes.values()})
    for copy in (0, 1):
        for name, (original, folder) in sorted(scenes.items()):
            family, fakes = families.index(original), sorted(n for n in scenes if scenes[n][0] == original != n)
            path = f"take{copy}/{name}"
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, root / path)
            fake = name != original
            number = fakes.index(name) if fake else 0
            lender, take = (family + number + 1) % 4, (copy + number) % 2
            rows.append(
                {
                    "path": path,
                    "label": int(fake),
                    "method": ("swap", "blend/../x")[number] if fake else "",
                    "original": f"take{copy}/{original}" if fake else "",
                    "target": f"person {family} {copy}",
                    "donor": f"person {lender} {take}" if fake else "",
                    "recording": f"tape {family}",
                    "donor_recording": f"tape {lender}" if fake else "",
                    "split": "train" if not copy else ("train", "val", "test", "")[family],
                    "date": f"2020-0{family + 1}-1{copy}",
                }
            )
    with (root / "videos.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def own(collection: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, built with its identity split. Tests only read it."""
    words = ("ingest", "build", "--dataset", "folder", "--root", collection, "--workers", 1, *SETTINGS)
    return once(tmp_path_factory, "own", lambda out: run(*words, "--out", out))
