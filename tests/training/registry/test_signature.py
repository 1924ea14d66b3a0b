"""A signature covers every file of a folder, and says which one is not as it was."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.registry import signature

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    private = tmp_path_factory.mktemp("keys") / "release.pem"
    assert signature.keygen(private) == private.with_suffix(".pub")
    return private


@pytest.fixture
def signed(key: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    (folder / "weights").mkdir(parents=True)
    (folder / "package.json").write_text("{}")
    (folder / "weights" / "0.safetensors").write_bytes(bytes(range(256)))
    (folder / ".gitignore").write_text("*")
    (folder / "weights" / "it's [an] 'odd' name, isn't it").write_text("odd")
    signature.sign(folder, key)
    return folder


def test_what_is_unchanged_is_accepted_wherever_it_lies(signed: Path, key: Path, tmp_path: Path) -> None:
    for place in ("elsewhere", "another name"):
        signature.verify(Path(shutil.copytree(signed, tmp_path / place)), key.with_suffix(".pub"))


def flip(file: Path) -> None:
    """One bit of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def touch(file: Path) -> None:
    """An empty file in a new folder."""
    file.parent.mkdir()
    file.touch()


def moved(file: Path, to: Path) -> None:
    """A link in a file's place."""
    file.rename(to)
    file.symlink_to(to)


CHANGES: dict[str, tuple[Change, str]] = {
    "weights": (lambda at: flip(at / "weights" / "0.safetensors"), "weights/0.safetensors was changed"),
    "description": (lambda at: (at / "package.json").write_text('{"a": 1}'), "package.json was changed"),
    "odd": (lambda at: flip(at / "weights" / "it's [an] 'odd' name, isn't it"), "name, isn't it was changed"),
    "longer": (lambda at: (at / ".gitignore").write_text("**"), ".gitignore was changed"),
    "removed": (lambda at: (at / "weights" / "0.safetensors").unlink(), "weights/0.safetensors is missing"),
    "added": (lambda at: (at / "weights" / "1.safetensors").touch(), "weights/1.safetensors was added"),
    "git": (lambda at: touch(at / ".git" / "config"), ".git/config was added"),
    "another signature": (lambda at: (at / "weights" / "model.sig").touch(), "weights/model.sig was added"),
    "link": (lambda at: (at / "more").symlink_to(at / "package.json"), "more is a link"),
    "folder": (lambda at: (at / "more").symlink_to(at / "weights"), "more is a link"),
    "linked signature": (lambda at: moved(at / "model.sig", at.parent / "sig"), "model.sig is a link"),
    "unsigned": (lambda at: (at / "model.sig").unlink(), r"is not signed \(model.sig is missing\)"),
    "empty": (lambda at: (at / "model.sig").write_text(""), "model.sig is no signature that can be read"),
    "other": (lambda at: (at / "model.sig").write_text('{"verificationMaterial": 3}'), "is no signature that can be"),
    "large": (lambda at: (at / "model.sig").write_bytes(b" " * (17 << 20)), "is no signature, for it is too large"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_not_as_it_was_is_named(signed: Path, key: Path, what: str) -> None:
    change, sentence = CHANGES[what]
    change(signed)
    with pytest.raises(SemblanceError, match=sentence) as caught:
        signature.verify(signed, key.with_suffix(".pub"))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_signature_cannot_be_made_to_fit(signed: Path, key: Path) -> None:
    """Its list of files is signed too."""
    flip(signed / "weights" / "0.safetensors")
    file = signed / signature.FILE
    bundle = json.loads(file.read_text())
    bundle["dsseEnvelope"]["payload"] = bundle["dsseEnvelope"]["payload"][:-8] + "AAAAAAAA"
    file.write_text(json.dumps(bundle))
    with pytest.raises(SemblanceError, match="was not signed by the owner of"):
        signature.verify(signed, key.with_suffix(".pub"))


def test_another_key_does_not_verify(signed: Path, key: Path, tmp_path: Path) -> None:
    other = signature.keygen(tmp_path / "other.pem")
    with pytest.raises(SemblanceError, match=r"was not signed by the owner of .*other\.pub"):
        signature.verify(signed, other)
    with pytest.raises(UsageError, match=r"absent\.pub cannot be read .*; make a pair with"):
        signature.verify(signed, tmp_path / "absent.pub")
    with pytest.raises(UsageError, match=r"release\.pem is no public key"):
        signature.verify(signed, key)
    with pytest.raises(UsageError, match=r"release\.pub is no private key"):
        signature.sign(signed, key.with_suffix(".pub"))


def test_a_private_key_is_for_its_owner_and_never_replaced(tmp_path: Path) -> None:
    private = tmp_path / "release.pem"
    public = signature.keygen(private)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes(), public.read_bytes()
    for name, sentence in (
        ("release.pem", "exists, and what it signed may be in use"),
        ("release.pub", "is the name of a public key"),
        ("absent/release.pem", "cannot be written"),
    ):
        with pytest.raises(UsageError, match=sentence):
            signature.keygen(tmp_path / name)
    assert (private.read_bytes(), public.read_bytes()) == before
    assert signature.public_of(private, tmp_path / "again.pub").read_bytes() == before[1]
