"""External detectors that are services, over loopback: what is sent, when, and what may come back."""

from __future__ import annotations

import base64
import ssl
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality import codec
from semblance.training.cli import app
from semblance.training.data.query import Selection
from semblance.training.evaluation import evaluate, external, predictions, provenance, robustness
from semblance.training.evaluation.evaluate import Evaluation, Options
from semblance.training.evaluation.external import External, service
from semblance.training.evaluation.external.service import Service
from tests.training import builds
from tests.training.evaluation.serving import Server, certificate

runner = CliRunner()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield served
        finally:
            served.shutdown()
            thread.join()


@pytest.fixture
def waited() -> list[float]:
    return []


def patient(one: External, waited: list[float]) -> External:
    """The same, but pauses are noted instead of waited for."""
    assert isinstance(one.source, Service)
    return replace(one, source=replace(one.source, wait=waited.append))


@pytest.fixture
def asked(server: Server, waited: list[float]) -> External:
    """The server as an external detector, with leave to send."""
    return patient(external.parse(f"bright={server.address}/v1/models/bright:predict", send=True), waited)


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of JPEG crops."""
    plan = builds.Plan(splits=("train", "test"), frames=3)
    return builds.make(tmp_path_factory.mktemp("jpegs") / "out", plan, encoding=codec.EncodingConfig())


@pytest.fixture(scope="module")
def selection(jpegs: Path) -> Selection:
    return predictions.select_pictures([str(jpegs)], "test", "split")


def judged(out: Path, one: External, said: list[str] | None = None) -> Evaluation:
    say = (said if said is not None else []).append
    return evaluate.evaluate([str(out)], [], Options(draws=0), externals=[one], say=say)


def ask(one: External) -> list[float]:
    """The answer for one picture, whose mean brightness is 0.2."""
    png = codec.EncodingConfig(format="png")
    logits = one._ask(["a"], [codec.encode(np.full((8, 8, 3), 51, np.uint8), png)])
    return [float(one.probability(logit, "frame")) for logit in logits]


def test_nothing_is_sent_without_leave(ffpp: Path, server: Server, tmp_path: Path) -> None:
    """Neither by the command, nor by Python, nor by a door that is opened behind both."""
    address = f"http://somebody:secret@127.0.0.1:{server.server_port}/judge?key=secret"
    command = ["evaluate", "--data", str(ffpp), "--external", f"far={address}", "--robust"]
    done = runner.invoke(app, [*command, "--to", str(tmp_path / "page")])
    assert done.exit_code == 2
    (sentence,) = (line for line in done.output.splitlines() if line.startswith("Error:"))
    assert sentence.startswith("Error: far is a service, and nothing was sent: --send sends it 192 face crops of 36 ")
    assert f"(test of {ffpp}: 96 of 18, val of {ffpp}: 96 of 18)" in sentence
    assert "again in 7 altered forms (--robust)" in sentence
    assert f"to http://127.0.0.1:{server.server_port}/judge; terms of ffpp: Released on request" in sentence
    assert "secret" not in done.output
    one = external.parse(f"far={address}")
    with pytest.raises(UsageError, match="nothing was sent"):
        judged(ffpp, one)
    with pytest.raises(UsageError, match="nothing is sent to it without --send"):
        ask(one)
    assert server.asked == []
    assert not (tmp_path / "page").exists()
    assert "secret" not in repr(one)
    assert provenance.external(one).source == f"http://127.0.0.1:{server.server_port}/judge"


def test_a_service_equals_the_function_of_its_answers(
    ffpp: Path, asked: External, server: Server, tmp_path: Path
) -> None:
    by_service = judged(ffpp, asked)
    file = tmp_path / "brightness.py"
    file.write_text("def score(pictures):\n    return [float(one.mean()) / 255 for one in pictures]\n")
    by_function = judged(ffpp, external.parse(f"bright={file}:score"))
    assert by_service.rows == by_function.rows
    assert by_service.predictions["bright"].equals(by_function.predictions["bright"])
    assert {path for path, *_ in server.asked} == {"/v1/models/bright:predict"}
    pictures = [len(pictures) for _, _, pictures in server.asked]
    assert (sum(pictures), max(pictures)) == (192, 32)


def test_what_is_sent_is_told_first(
    ffpp: Path, asked: External, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evaluation's pictures before any, and those of each extra before them."""
    monkeypatch.setattr(robustness, "JPEG", (30,))
    monkeypatch.setattr(robustness, "SCALES", (0.5,))
    told: list[tuple[str, int]] = []

    def say(line: str) -> None:
        told.append((line, sum(len(pictures) for _, _, pictures in server.asked)))

    result = evaluate.evaluate([str(ffpp)], [], Options(draws=0), externals=[asked], say=say)
    robustness.robustness(result, say=say)
    robustness.builds(result, [f"same={ffpp}"], say=say)
    found = [(line.partition(" face crops")[0], count) for line, count in told if " is sent " in line]
    assert found == [("bright is sent 192", 0), ("bright is sent 96", 192), ("bright is sent 96", 192 + 2 * 96)]
    assert sum(len(pictures) for _, _, pictures in server.asked) == 192 + 3 * 96
    assert all("; terms of ffpp: " in line for line, _ in told if " is sent " in line)


def test_files_are_sent_as_stored(jpegs: Path, selection: Selection, asked: External, server: Server) -> None:
    """The bytes of the tar, as Python's own tarfile reads them; an altered crop is a PNG of its pixels."""
    stored = {}
    for tar in jpegs.glob("shards/test/*.tar"):
        with tarfile.open(tar) as archive:
            for member in archive:
                name, _, kind = member.name.partition(".")
                content = archive.extractfile(member)
                if kind == "jpg" and content is not None:
                    stored[name] = content.read()
    found = asked.outputs(selection)
    pictures = [one for _, _, pictures in server.asked for one in pictures]
    assert dict(zip(found["sample_id"], pictures, strict=True)) == stored
    server.asked.clear()
    transform = robustness.degradations()[0][2]
    found = asked.outputs(selection, transform)
    pictures = [one for _, _, pictures in server.asked for one in pictures]
    for name, picture in zip(found["sample_id"], pictures, strict=True):
        assert np.array_equal(codec.decode(picture), transform(codec.decode(stored[name]), None, ""))


def test_credentials_and_query_reach_the_service_alone(server: Server) -> None:
    one = external.parse(f"far=http://some%40body:a%3Ab@127.0.0.1:{server.server_port}/judge?key=1&more=2", send=True)
    assert ask(one) == pytest.approx([0.2])
    ((path, headers, _),) = server.asked
    assert path == "/judge?key=1&more=2"
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"some@body:a:b").decode()
    assert headers["Content-Type"] == "application/json"


def test_proxies_are_not_used(asked: External, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(asked) == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("header", "pause"),
    [("7", 7), ("100000", service.LONGEST_S), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", 1), (None, 1)],
)
def test_a_busy_service_is_asked_again(
    asked: External, server: Server, waited: list[float], header: str | None, pause: float
) -> None:
    server.answers = [(503, {} if header is None else {"Retry-After": header}, b"busy")]
    assert ask(asked) == pytest.approx([0.2])
    assert waited == [pause]
    assert len(server.asked) == 2


def test_a_service_that_stays_busy_is_given_up(asked: External, server: Server, waited: list[float]) -> None:
    server.answers = [(503, {}, b"")] * 9
    with pytest.raises(SemblanceError) as caught:
        ask(asked)
    assert f"{server.address}/v1/models/bright:predict is busy (503 Service Unavailable), 5 times" in str(caught.value)
    assert waited == [1, 2, 4, 8]
    assert len(server.asked) == 5


def test_a_service_that_is_away_is_a_sentence(waited: list[float]) -> None:
    away = patient(external.parse("far=http://127.0.0.1:9/judge", send=True), waited)
    with pytest.raises(SemblanceError, match=r"The service of far at http://127\.0\.0\.1:9/judge cannot be reached"):
        ask(away)
    assert len(waited) == 4


def test_a_dropped_connection_is_tried_again(asked: External, server: Server, waited: list[float]) -> None:
    server.answers = [(200, {"Transfer-Encoding": "chunked"}, b"zz\r\n")]
    assert ask(asked) == pytest.approx([0.2])
    assert waited == [1]


def test_certificates_are_checked(
    server: Server, tmp_path: Path, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing reaches a host that nobody vouches for; one that somebody does is asked over TLS."""
    made = certificate(tmp_path / "localhost.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    one = patient(external.parse(f"far=https://localhost:{server.server_port}/judge", send=True), waited)
    with pytest.raises(SemblanceError, match="certificate verify failed"):
        ask(one)
    assert (server.asked, waited) == ([], [])
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    assert ask(one) == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("status", "headers", "content", "said"),
    [
        (404, {}, b'{"error": "no such\nmodel"}', 'answers 404 Not Found: {"error": "no such model"}; look at its log'),
        (500, {}, b"", "answers 500 Internal Server Error; look at its log"),
        (302, {"Location": "http://[elsewhere/"}, b"", "answers 302 Found, a redirect, which is not followed"),
        (799, {}, b"x" * 5000, f"answers 799: {'x' * 200}; look"),
        (200, {}, b"<html>", 'answers without {"predictions": [...]} in JSON'),
        (200, {}, b"[0.5]", 'answers without {"predictions": [...]} in JSON'),
        (200, {}, b'{"outputs": [0.5]}', 'answers without {"predictions": [...]} in JSON'),
        (200, {}, b"[" * 100_000, 'answers without {"predictions": [...]} in JSON'),
        (200, {}, b'{"predictions": [0.5, 0.5]}', "numbers of shape (2,)"),
        (200, {}, b'{"predictions": [NaN]}', "it returned nan for a"),
        (200, {}, b'{"predictions": [7]}', "it returned 7 for a"),
        (200, {}, b'{"predictions": [1' + b"0" * 400 + b"]}", "int too large"),
        (200, {}, b'{"predictions": {"a": 0.5}}', "no numbers"),
    ],
)
def test_other_answers_are_sentences(
    asked: External, server: Server, status: int, headers: dict[str, str], content: bytes, said: str
) -> None:
    server.answers = [(status, headers, content)]
    with pytest.raises(SemblanceError) as caught:
        ask(asked)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(server.asked) == 1


def test_an_answer_without_end_is_refused(asked: External, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_LARGEST", 50)
    server.answers = [(200, {}, b'{"predictions": [0.5]}' + b" " * 50)]
    with pytest.raises(SemblanceError, match="answers without"):
        ask(asked)


@pytest.mark.parametrize(
    ("url", "host", "port", "exposed"),
    [
        ("http://localhost:8501/x", "localhost", 8501, False),
        ("http://127.0.0.2/x", "127.0.0.2", 80, False),
        ("http://[::1]/x", "::1", 80, False),
        ("http://example.org/x", "example.org", 80, True),
        ("http://10.0.0.1:1/x", "10.0.0.1", 1, True),
        ("https://example.org", "example.org", 443, False),
    ],
)
def test_open_connections_are_named(jpegs: Path, url: str, host: str, port: int, exposed: bool) -> None:
    one = external.parse(f"far={url}")
    assert isinstance(one.source, Service)
    assert (one.source.host, one.source.port, one.source.exposed) == (host, port, exposed)
    with pytest.raises(UsageError) as caught:
        judged(jpegs, one)
    assert ("a connection that is not encrypted" in str(caught.value)) == exposed
