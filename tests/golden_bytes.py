"""Whether the code builds the bytes of an earlier revision: ``python -m tests.golden_bytes REVISION`` builds with both.

Bytes depend on the processor and on the versions of libraries, so stored hashes would hold on one machine only. Both
builds run here instead, with the libraries of this environment. The earlier code is taken out of git, nothing is
installed. Compared are shards, pictures of rejected faces, plan, samples and rejects of the demo and, where the sample
collections are, of DFDC and FF++; whatever holds times or a fingerprint is not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.conftest import PACKAGES, REPOSITORY

SHARED: Final = Path(os.environ.get("SEMBLANCE_SHARED", REPOSITORY.parent / "shared"))
SETS: Final = ("demo", "dfdc", "ffpp")
COMPARED: Final = ("plan.parquet", "shards/*/*", "rejects/*", "manifests/samples/*", "manifests/rejects/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A version of the packages: ``path`` is what Python's path must begin with, ``cli`` the module of ``ingest``."""

    path: Path
    cli: str

    def ingest(self, *words: object) -> None:
        """Run the command ``ingest`` of this version; ends the program where it fails."""
        command = [sys.executable, "-c", f"from {self.cli} import app; app()", *map(str, words)]
        done = subprocess.run(
            command, cwd=self.path, env=os.environ | {"PYTHONPATH": str(self.path)}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"ingest {' '.join(map(str, words))} gave {done.returncode}:\n{done.stdout}\n{done.stderr}")


def code_of(tree: Path, links: Path) -> Code:
    """The code of a tree: before the common import root its folders were packages themselves."""
    if not (tree / "semblance").is_dir():
        return Code(path=tree, cli="ingest.cli")
    package = links / "semblance"
    package.mkdir(parents=True)
    for file in (tree / "semblance").iterdir():
        (package / file.name).symlink_to(file)
    for name in PACKAGES:
        (package / name).symlink_to(tree / name)
    return Code(path=links, cli="semblance.ingest.cli")


def taken_out(revision: str, folder: Path) -> Path:
    """The files of a revision of this repository, written into a folder."""
    with tempfile.TemporaryFile() as file:
        subprocess.run(["git", "archive", revision], cwd=REPOSITORY, stdout=file, check=True)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            archive.extractall(folder, filter="data")
    return folder


def hashes(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Name -> SHA-256 of the files of a folder that fit one of the patterns."""
    files = (file for pattern in patterns for file in folder.glob(pattern) if file.is_file())
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def build(code: Code, name: str, demo: Path, out: Path) -> dict[str, str]:
    """Build one of the sets with a version of the code; the hashes of what is compared."""
    if name == "demo":
        words: tuple[object, ...] = ("--dataset", "dfdc", "--root", demo, "--recipe", demo / "recipe.yaml")
    else:
        words = ("--dataset", name, "--root", SHARED / "data" / name, "--set", "sampling.n=8")
    code.ingest("build", *words, "--out", out)
    return hashes(out, COMPARED)


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Names that only one of both has, or with other bytes."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.golden_bytes", description=__doc__)
    parser.add_argument("revision", help="the revision of git to compare with")
    parser.add_argument("--only", nargs="+", choices=SETS, default=SETS, help="these sets alone")
    given = parser.parse_args()
    differ = 0
    with tempfile.TemporaryDirectory(prefix="semblance-bytes-") as name:
        folder = Path(name)
        old = code_of(taken_out(given.revision, folder / "tree"), folder / "old-links")
        new = code_of(REPOSITORY, folder / "new-links")
        demos = {"before": folder / "demo-before", "after": folder / "demo-after"}
        for code, demo in zip((old, new), demos.values(), strict=True):
            code.ingest("demo", "--dataset", "dfdc", "--to", demo)
        made = [hashes(demo, ("**/*",)) for demo in demos.values()]
        differ += _shown("files of the demo", *made)
        for set_ in given.only:
            if set_ != "demo" and not (SHARED / "data" / set_).is_dir():
                print(f"{set_}: left out, since the sample collections are not there (set SEMBLANCE_SHARED)")
                continue
            before = build(old, set_, demos["before"], folder / "before" / set_)
            differ += _shown(set_, before, build(new, set_, demos["before"], folder / "after" / set_))
    sys.exit(1 if differ else 0)


def _shown(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> int:
    """Print how two sets of files compare; how many differ. Ends the program where there is nothing to compare."""
    if not before:
        sys.exit(f"{what}: nothing was built")
    odd = differences(before, after)
    print(f"{what}: {len(before)} files, " + (f"{len(odd)} differ: {', '.join(odd)}" if odd else "the same bytes"))
    return len(odd)


if __name__ == "__main__":
    main()
