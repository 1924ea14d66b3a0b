"""Where functions of external detectors come from: installed modules, the working directory, and files."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from semblance.manifests.errors import UsageError
from semblance.training.evaluation import external, provenance


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "is not of the form NAME="),
        ("=a:b", "is not of the form NAME="),
        ("a b=c:d", "is not of the form NAME="),
        ("a+plain=c:d", "is not of the form NAME="),
        ("x=module", "names no function"),
        ("x=no_such_module_at_all:score", "there is no module no_such_module_at_all"),
        ("x=json:no_such", "has no no_such"),
        ("x=json:__name__", "cannot be called"),
        ("x=absent/file.py:score", "absent/file.py cannot be read"),
        ("x={folder}/fails.py:score", "fails: RuntimeError: no licence (fails.py, line 1)"),
        ("x={folder}/leaves.py:score", "fails: SystemExit: 3"),
        ("x={folder}/lacks.py:score", "fails: ModuleNotFoundError: No module named 'no_such_library'"),
        ("x=ftp://host/path", "ftp:// is no address"),
        ("x=http://host:port/path", "is not valid"),
        ("x=http:///path", "is not valid"),
        ("x=https://host/a path", "is not valid"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "fails.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "lacks.py").write_text("import no_such_library\n")
    with pytest.raises(UsageError) as caught:
        external.parse(text.format(folder=tmp_path))
    assert said in str(caught.value)


def test_a_file_is_hashed_and_imports_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "semblance_test_neighbour.py").write_text("VALUE = 0.25\n")
    file = tmp_path / "detector.py"
    file.write_text(
        "import dataclasses\nimport semblance_test_neighbour\n@dataclasses.dataclass\nclass Model:\n    scale: float\n"
        "    def predict(self, pictures):\n        return [semblance_test_neighbour.VALUE] * len(pictures)\n"
        "model = Model(1.0)\n"
    )
    one = external.parse(f"mine={file}:model.predict")
    assert one._ask(["a"], [np.zeros((4, 4, 3), np.uint8)]) == pytest.approx([np.log(1 / 3)])
    known = provenance.external(one)
    assert (known.kind, known.file) == ("function", "detector.py")
    assert known.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
