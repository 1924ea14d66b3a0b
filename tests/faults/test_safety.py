"""No one in: encrypted clusters, secrets in logs, and nothing foreign that is unpickled or executed."""

from __future__ import annotations

import ast
import contextlib
import datetime
import ipaddress
import json
import pickle
import socket
import ssl
import urllib.parse
from pathlib import Path

import pytest
import torch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from semblance.ingest.run import log as journal
from semblance.manifests.errors import SemblanceError
from semblance.shards import verify
from semblance.training.models import weights
from semblance.training.runs import checkpoint
from tests.conftest import PACKAGES, REPOSITORY
from tests.faults import kills, rig


def certificates(folder: Path) -> dict[str, Path]:
    """A certificate authority of the test's own, and one certificate for 127.0.0.1 that it signed."""
    now = datetime.datetime.now(datetime.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "node")}
    names = {name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {name}")]) for name in keys}
    for name, key in keys.items():
        made = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["ca"])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(keys["ca"], hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return {"ca-file": folder / "ca.pem", "cert": folder / "node.pem", "key": folder / "node.key"}


def test_a_cluster_with_tls(demo: Path, tmp_path: Path) -> None:
    """Dask's own configuration, as the README has it; whoever lacks the certificate is not let in."""
    files = certificates(tmp_path)
    env = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    env |= {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(files["ca-file"])}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        env |= {f"DASK_DISTRIBUTED__COMM__TLS__{role}__{name.upper()}": str(files[name]) for name in ("cert", "key")}
    with kills.cluster(tmp_path / "cluster", 1, "--protocol", "tls", env=env) as (address, _, _):
        assert address.startswith("tls://127.0.0.1:")
        stranger = rig.build(demo, tmp_path / "stranger", "--scheduler", address)
        assert stranger.code == 1
        assert stranger.clear, stranger.said
        assert not (tmp_path / "stranger").exists()
        host, _, port = address.removeprefix("tls://").rpartition(":")
        untrusting = ssl.create_default_context(cafile=str(files["ca-file"]))  # knows the authority, has no certificate
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host, int(port)), timeout=10) as plain,
            untrusting.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            assert not wrapped.recv(1), "the scheduler spoke to somebody without a certificate"
        ended = rig.build(demo, tmp_path / "out", "--scheduler", address, env=env)
    assert ended.code == 0, ended.said
    assert not verify.verify(str(tmp_path / "out"), deep=True).problems


@given(
    secret=st.text("ABCDEFabcdef0123456789+/", min_size=12, max_size=40),
    form=st.sampled_from(
        [
            "https://user:{}@host/x",
            "s3://{}@bucket/x",
            "https://h/x?X-Amz-Signature={}&a=b",
            "https://h/x?X-Amz-Security-Token={}",
            "https://h/x?X-Amz-Credential={}",
            "aws_secret_access_key = {}",
            "{{'secret': '{}'}}",
            "password={}",
            "Token: {}",
            "api_key={}",
        ]
    ),
)
def test_secrets_are_hidden(secret: str, form: str) -> None:
    written = urllib.parse.quote(secret, safe="") if "://" in form else secret
    assert written not in journal.hidden(form.format(written))


def test_values_of_the_environment_are_hidden_and_all_else_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    log = tmp_path / "log"
    with journal.Journal(str(log)) as book:
        book.log(
            "stopped",
            error="403 for wJalrXUtnFEMI/K7MDENG\n\x1b[31m",
            video="dfdc-aabbccddee",
            many=["wJalrXUtnFEMI/K7MDENG"],
        )
    (line,) = log.read_text().splitlines()
    assert "wJalr" not in line
    assert line.isprintable()
    assert json.loads(line)["video"] == "dfdc-aabbccddee"
    said = "shards/train/dfdc-train-000000.tar: frame 3 of s3://bucket/key/monkey.mp4 cannot be decoded"
    assert journal.hidden(said) == said


def test_a_log_on_a_full_disk_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with journal.Journal("/dev/full") as book:
        for _ in range(3):
            book.log("video", video="dfdc-aabbccddee")
    said = capsys.readouterr().err
    assert said.count("cannot be written") == 1
    assert "Traceback" not in said


class Evil:
    """Runs when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


def test_a_file_of_weights_runs_nothing(tmp_path: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "weights.pth"
    pickle.loads(pickle.dumps(Evil(mark)))
    mark.unlink()  # whoever does unpickle it is found out
    torch.save({"state_dict": Evil(mark)}, file)
    with pytest.raises(SemblanceError):
        weights.create("resnet18", str(file))
    assert not mark.exists()
    run = tmp_path / "run"
    run.mkdir()
    torch.save({"state_dict": Evil(mark)}, run / "last.ckpt")
    with pytest.raises(SemblanceError):
        checkpoint.load(run / "last.ckpt")
    assert not mark.exists()


def test_nothing_foreign_is_unpickled_or_executed() -> None:
    """In all five packages: no pickle.load, no torch.load without weights_only, no eval, exec, unsafe YAML or shell."""
    faults = []
    for package in PACKAGES:
        for file in sorted((REPOSITORY / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    words = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    faults += [
                        f"{file.name}:{node.lineno}: {fault}" for fault in _unsafe(ast.unparse(node.func), words)
                    ]
    assert not faults


def _unsafe(name: str, words: dict[str | None, str]) -> list[str]:
    banned = ("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "os.system", "os.popen")
    bad = [name] if name in (*banned, "marshal.loads", "shelve.open", "joblib.load", "tempfile.mktemp") else []
    if name == "torch.load" and words.get("weights_only") != "True":
        bad.append("torch.load without weights_only")
    if words.get("allow_pickle", "False") != "False" or words.get("shell", "False") != "False":
        bad.append(f"{name} with allow_pickle or shell")
    if "extractall" in name:
        bad.append(name)
    return bad
