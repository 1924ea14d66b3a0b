"""Signatures of packages by a pair of keys, offline: who made a package, and that no file of it was changed."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from semblance.manifests.errors import SemblanceError, UsageError

FILE: Final = "model.sig"  # in the package, a Sigstore bundle; it covers every other file
_LARGEST: Final = 16 << 20  # bytes of a signature


def keygen(private: Path) -> Path:
    """Write a new private key (EC P-256, PEM, for its owner's eyes alone), and the public one beside it; the latter.

    Raises UsageError if either file exists.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    public = private.with_suffix(".pub")
    if public == private:
        raise UsageError(f"{private} is the name of a public key; name the private one, such as release.pem.")
    key = ec.generate_private_key(ec.SECP256R1())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, data, mode in ((private, secret, 0o600), (public, _pem(key.public_key()), 0o644)):
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise UsageError(f"{file} exists, and what it signed may be in use; choose another name.") from error
        except OSError as error:
            raise UsageError(f"{file} cannot be written ({error.strerror}); choose another folder.") from error
        with os.fdopen(handle, "wb") as out:
            out.write(data)
    return public


def public_of(private: Path, to: Path) -> Path:
    """Write the public key of a private one to ``to``; returns ``to``."""
    to.write_bytes(_pem(_private(private).public_key()))
    return to


def sign(folder: Path, private: Path) -> None:
    """Sign every file in a folder; the signature is one more file in it.

    Raises UsageError if the key cannot be used, SemblanceError for a link or a special file in the folder.
    """
    from model_signing import signing

    _private(private)
    _plain_files(folder)
    _config(signing.Config).use_elliptic_key_signer(private_key=private).set_hashing_config(_hashing()).sign(
        folder, folder / FILE
    )


def verify(folder: Path, public: Path) -> None:
    """Check that a folder is as it was signed, by the owner of the key; nothing else in it is parsed.

    Raises UsageError if the public key cannot be used. Raises SemblanceError without a signature, for one of another
    key, and with the name of the file for one that was changed, added or removed, and for links.
    """
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    _public(public)
    signature = folder / FILE
    _plain_files(folder)
    if not signature.exists():
        raise SemblanceError(f"{folder} is not signed ({FILE} is missing); sign it with `training registry add`.")
    if signature.stat().st_size > _LARGEST:
        raise SemblanceError(f"{signature} is no signature, for it is too large; fetch the package again.")
    config = _config(verifying.Config).use_elliptic_key_verifier(public_key=public).set_hashing_config(_hashing())
    try:
        config.verify(folder, signature)
    except InvalidSignature as error:
        raise SemblanceError(
            f"{folder} was not signed by the owner of {public}, or its signature was changed; use the signer's public "
            "key, or do not use the package."
        ) from error
    except Exception as error:  # whatever a hostile signature makes its readers raise
        raise SemblanceError(_told(folder, public, str(error))) from error


def _told(folder: Path, public: Path, fault: str) -> str:
    if fault.startswith("Signature mismatch"):  # the signature is good, so its list of files is
        return f"{folder}: {_difference(folder)} after it was signed; do not use it, fetch the package again."
    if fault.startswith("Key mismatch"):
        return f"{folder} was not signed by the owner of {public}; use the signer's public key."
    return f"{folder / FILE} is no signature that can be read; fetch the package again."


def _difference(folder: Path) -> str:
    """The first file that is not as in the verified signature, and how many more."""
    statement = json.loads(base64.b64decode(json.loads((folder / FILE).read_bytes())["dsseEnvelope"]["payload"]))
    signed = {one["name"]: one["digest"] for one in statement["predicate"]["resources"]}
    held = {one.identifier: one.digest.digest_hex for one in _hashing().hash(folder).resource_descriptors()}
    faults = [f"{name} is missing" for name in sorted(signed.keys() - held.keys())]
    faults += [f"{name} was added" for name in sorted(held.keys() - signed.keys())]
    faults += [f"{name} was changed" for name in sorted(signed.keys() & held.keys()) if signed[name] != held[name]]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{faults[0] if faults else 'its list of files was changed'}{more}"


def _hashing() -> Any:
    """Every file by its SHA-256 but for the signature itself; git's too, which the library would leave out."""
    from model_signing import hashing

    config = _config(hashing.Config).use_file_serialization(hashing_algorithm="sha256", allow_symlinks=False)
    return config.set_ignored_paths(paths=[FILE], ignore_git_paths=False)


def _config(kind: Any) -> Any:
    """One of the library's builders, whose constructors have no types."""
    return kind()


def _plain_files(folder: Path) -> None:
    """Raise SemblanceError for anything but files and folders: a link may lead to what nobody signed."""
    if not folder.is_dir() or folder.is_symlink():
        raise SemblanceError(f"{folder} is no folder of a package; name another.")
    for place, folders, files in os.walk(folder):
        for name in sorted((*folders, *files)):
            one = Path(place) / name
            mode = one.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "a special file"
                raise SemblanceError(
                    f"{folder}: {one.relative_to(folder)} is {kind}, which no package holds; do not use it, fetch the "
                    "package again."
                )


def _private(file: Path) -> Any:
    from cryptography.hazmat.primitives import serialization

    return _key(file, "private", lambda data: serialization.load_pem_private_key(data, None))


def _public(file: Path) -> Any:
    from cryptography.hazmat.primitives import serialization

    return _key(file, "public", serialization.load_pem_public_key)


def _key(file: Path, kind: str, load: Any) -> Any:
    """A key on P-256, P-384 or P-521, as model-signing takes them."""
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = load(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"The {kind} key {file} cannot be read ({error.strerror}); make a pair with `training registry keygen`."
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{file} is no {kind} key without a password in PEM; make a pair with `training registry keygen`."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        raise UsageError(f"{file} is no key on an elliptic curve; make a pair with `training registry keygen`.")
    return key


def _pem(public: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    data: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return data
