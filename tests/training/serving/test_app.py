"""The routes: answers are those of `training predict`, refusals one sentence, and no file of a request stays."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from semblance.quality import codec, video
from semblance.training.inference import many, predictor
from semblance.training.inference import video as inference
from semblance.training.inference.inputs import Input
from semblance.training.inference.video import Prediction
from semblance.training.rollout import assign, events, history
from semblance.training.serving import access, app, spool
from semblance.training.serving.answers import CropAnswer, ServiceAnswer, VideoAnswer
from semblance.training.serving.service import Service
from tests.training.serving import services

Talk = Callable[[httpx2.AsyncClient], Awaitable[None]]


def converse(service: Service, talk: Talk) -> None:
    async def run() -> None:
        async with services.asked(service) as client:
            await talk(client)

    asyncio.run(run())


def left(folder: Path) -> list[str]:
    return sorted(
        str(one.relative_to(folder)) for one in folder.rglob("*") if "model" not in one.parts and one.is_file()
    )


def test_a_video_has_the_answer_of_predict(tmp_path: Path, trained: Path, clip: Path) -> None:
    service = services.make(tmp_path, trained)
    run = predictor.load(trained)
    recipe, _ = inference.recipe_of(run)
    (wanted,) = many.predict([Input(path=str(clip))], run, recipe, passes=service.config.passes)
    assert isinstance(wanted, Prediction)

    async def talk(client: httpx2.AsyncClient) -> None:
        body = await client.post("/v1/videos", content=clip.read_bytes())
        form = await client.post("/v1/videos?faces=true", files={"file": ("../../etc/x\u2028.txt", clip.read_bytes())})
        answers = [VideoAnswer.model_validate_json(one.content) for one in (body, form)]
        for found in answers:
            assert found.probability == pytest.approx(wanted.video.probability, abs=1e-4)
            assert found.uncertainty == pytest.approx(wanted.video.uncertainty, abs=1e-4)
            assert [one.pictures for one in found.persons] == [one.pictures for one in wanted.persons]
            assert [one.probability for one in found.persons] == pytest.approx(
                [one.score.probability for one in wanted.persons], abs=1e-4
            )
            rows = wanted.pictures.sort("frame_index", "person", "track")
            assert [one.frame for one in found.faces] == rows["frame_index"].to_list()
            assert [one.probability for one in found.faces] == pytest.approx(rows["score"].to_list(), abs=1e-4)
            assert found.rejected == dict(wanted.rejected)
            assert found.footage.faces_seen == wanted.row["faces_seen"]
        assert answers[0].model_copy(update={"id": "", "seconds": {}, "faces": ()}) == answers[1].model_copy(
            update={"id": "", "seconds": {}, "faces": ()}
        ), "the same file has the same answer"
        assert {one.picture for one in answers[0].faces} == {None}
        assert all(one.picture is not None for one in answers[1].faces)
        assert body.headers["x-request-id"] == answers[0].id
        assert left(tmp_path) == ["0.png"]

    converse(service, talk)


def test_a_picture_of_a_scene_is_scored_too(tmp_path: Path, trained: Path, clip: Path) -> None:
    frame = next(iter(video.frames(str(clip), [0], decoder="pyav"))).image
    still = codec.encode(frame, codec.EncodingConfig(format="png"))
    empty = codec.encode(np.zeros((300, 400, 3), np.uint8), codec.EncodingConfig(format="jpg"))

    async def talk(client: httpx2.AsyncClient) -> None:
        answer = VideoAnswer.model_validate_json((await client.post("/v1/videos", content=still)).content)
        assert len(answer.persons) == 2
        assert {one.time_s for one in answer.faces} == {None}
        refused = await client.post("/v1/videos", content=empty)
        assert refused.status_code == 422
        assert refused.json()["error"].startswith("The picture shows no face; send")
        assert left(tmp_path) == ["0.png"]

    converse(services.make(tmp_path, trained), talk)


def test_crops_are_scored_alone_and_in_the_open_protocol(tmp_path: Path, trained: Path, crops: list[bytes]) -> None:
    import base64

    service = services.make(tmp_path, trained)

    async def talk(client: httpx2.AsyncClient) -> None:
        replies = await asyncio.gather(*(client.post("/v1/crops", content=one) for one in crops))
        alone = [CropAnswer.model_validate_json(one.content) for one in replies]
        assert len({one.id for one in alone}) == len(crops)
        name = "/v2/models/detector"
        described = (await client.get(name)).json()
        assert described["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
        assert (await client.get(f"{name}/versions/1.0.0/ready")).json() == {"name": "detector", "ready": True}
        files = [base64.b64encode(one).decode() for one in crops]
        given = {"name": "image", "shape": [len(files)], "datatype": "BYTES", "data": files}
        many_files = (await client.post(f"{name}/infer", json={"id": "mine", "inputs": [given]})).json()
        assert (many_files["id"], many_files["model_version"]) == ("mine", "1.0.0")
        columns = {one["name"]: one["data"] for one in many_files["outputs"]}
        assert columns["probability"] == pytest.approx([one.probability for one in alone], abs=1e-5)
        assert columns["uncertainty"] == pytest.approx([one.uncertainty for one in alone], abs=1e-5)
        image = codec.decode(crops[1])  # a PNG: the same pixels
        tensor = {"name": "image", "shape": [1, *image.shape], "datatype": "UINT8"}
        for data in (image.tolist(), image.reshape(-1).tolist()):
            pixels = (await client.post(f"{name}/infer", json={"inputs": [tensor | {"data": data}]})).json()
            assert pixels["outputs"][0]["data"] == pytest.approx([alone[1].probability], abs=1e-5)
        wrong: list[tuple[dict[str, Any], str]] = [
            (given | {"shape": [3]}, "is not that of 24 elements"),
            (given | {"data": ["???"] * 24}, "not files in base64"),
            (tensor | {"data": [256] * image.size}, "outside 0 to 255"),
            (tensor | {"data": [1, 2]}, "not whole numbers of shape"),
            (tensor | {"shape": [2, 3], "data": [1] * 6}, "is not (N, S, S, 3)"),
            (tensor | {"name": "crop", "data": []}, "wrong at inputs"),
        ]
        for bad, said in wrong:
            refused = await client.post(f"{name}/infer", json={"inputs": [bad]})
            assert refused.status_code == 400, refused.text
            assert said in refused.json()["error"]
        assert (await client.post("/v2/models/other/infer", json={"inputs": [given]})).status_code == 404
        assert (await client.post(f"{name}/versions/9.0.0/infer", json={"inputs": [given]})).status_code == 404

    converse(service, talk)


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"content": b"no video"}, 415, "known here"),
    ({"content": b"#EXTM3U\nfile:///etc/passwd\n"}, 415, "known here"),
    ({"content": b"ffconcat version 1.0\nfile /etc/passwd\n"}, 415, "known here"),
    ({"content": b""}, 400, "holds no file"),
    ({"files": {"other": b"x"}}, 400, "in its field `file`"),
    ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "in its field `file`"),
    ({"content": b"\x00\x00\x00\x20ftypisom" + bytes(200)}, 422, "The video cannot be scored"),
    ({"content": bytes((1 << 20) + 1)}, 413, "more than 1 MiB"),
    ({"json": {"address": "s3://bucket/x.mp4"}}, 403, "may not read"),
    ({"json": {"address": "file:///etc/passwd"}}, 403, "may not read"),
    ({"json": ["x"]}, 400, "The JSON of the request is wrong"),
]


def test_what_cannot_be_scored_is_refused_in_a_sentence(tmp_path: Path, trained: Path) -> None:
    async def talk(client: httpx2.AsyncClient) -> None:
        for sent, status, said in REFUSED:
            refused = await client.post("/v1/videos", **sent)
            told = refused.json()
            assert (refused.status_code, said in told["error"]) == (status, True), told
            assert re.fullmatch(r"[A-Z][^\n]*\.", told["error"])
            assert str(tmp_path) not in told["error"]
            assert left(tmp_path) == ["0.png"]

    converse(services.make(tmp_path, trained, "videos.mib=1"), talk)


def test_a_longer_video_is_referred_to_jobs(tmp_path: Path, trained: Path, clip: Path) -> None:
    async def talk(client: httpx2.AsyncClient) -> None:
        refused = await client.post("/v1/videos", content=clip.read_bytes())
        assert (refused.status_code, refused.json()["reason"]) == (413, "too_long")
        assert "longer than 0.5 s; as a job (POST /v1/jobs) it may last 100 s" in refused.json()["error"]
        accepted = await client.post("/v1/jobs", content=clip.read_bytes())
        assert accepted.status_code == 202
        for _ in range(3000):
            asked = (await client.get(accepted.headers["location"])).json()
            if asked["status"] not in ("queued", "running"):
                break
            await asyncio.sleep(0.05)
        assert asked["status"] == "done", asked
        assert asked["answer"]["id"] == accepted.json()["id"]
        assert (await client.delete(accepted.headers["location"])).status_code == 204
        assert (await client.get(accepted.headers["location"])).status_code == 404

    converse(services.make(tmp_path, trained, "videos.seconds=0.5", "videos.job_seconds=100"), talk)


def test_only_a_known_token_is_answered_and_only_so_often(tmp_path: Path, trained: Path, crops: list[bytes]) -> None:
    ann, bob = (access.create(name, str(tmp_path / "tokens")) for name in ("ann", "bob"))
    tokens = access.read(str(tmp_path / "tokens"))
    service = services.make(tmp_path / "own", trained, "rate.burst=3", "rate.per_minute=1", tokens=tokens)

    async def talk(client: httpx2.AsyncClient) -> None:
        for path in ("/v1/crops", "/v1/videos", "/v1/jobs", "/v1/feedback", "/v2/models/detector/infer"):
            refused = await client.post(path, content=crops[0], headers={"authorization": "Bearer wrong"})
            if path != "/v1/feedback":
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), path
        assert (await client.get("/v1/model")).status_code == 401
        assert (await client.get("/health/live")).status_code == 200, "a probe has no token"
        mine = {"authorization": f"Bearer {ann}"}
        for _ in range(3):
            assert (await client.post("/v1/crops", content=crops[0], headers=mine)).status_code == 200
        late = await client.post("/v1/crops", content=crops[0], headers=mine)
        assert (late.status_code, late.json()["reason"]) == (429, "rate")
        assert int(late.headers["retry-after"]) >= 1
        theirs = {"authorization": f"Bearer {bob}"}
        assert (await client.post("/v1/crops", content=crops[0], headers=theirs)).status_code == 200

    converse(service, talk)


def test_a_job_belongs_to_its_token(tmp_path: Path, trained: Path, clip: Path) -> None:
    ann, bob = (access.create(name, str(tmp_path / "tokens")) for name in ("ann", "bob"))
    service = services.make(tmp_path / "own", trained, tokens=access.read(str(tmp_path / "tokens")))

    async def talk(client: httpx2.AsyncClient) -> None:
        mine, theirs = ({"authorization": f"Bearer {one}"} for one in (ann, bob))
        place = (await client.post("/v1/jobs", content=clip.read_bytes(), headers=mine)).headers["location"]
        assert (await client.get(place, headers=mine)).status_code == 200
        for call in (client.get, client.delete):
            assert (await call(place, headers=theirs)).status_code == 404

    converse(service, talk)


def test_a_rollout_draws_by_subject_and_keeps_what_happened(
    tmp_path: Path, trained: Path, other: Path, crops: list[bytes]
) -> None:
    log = events.Log(str(tmp_path / "events"))
    service = services.make(tmp_path / "own", trained, challenger=other, log=log)
    wanted = {f"s{i}": "challenger" if assign.challenged("trial", f"s{i}", 0.5) else "champion" for i in range(20)}
    found: dict[str, str] = {}

    async def talk(client: httpx2.AsyncClient) -> None:
        for subject in wanted:
            answer = (await client.post("/v1/crops", content=crops[0], headers={"x-subject": subject})).json()
            assert answer["model"]["version"] == {"champion": "1.0.0", "challenger": "1.1.0"}[answer["model"]["role"]]
            assert found.setdefault(answer["id"], answer["model"]["role"]) == wanted[subject]
            said = {"id": answer["id"], "label": 1, "satisfied": False}
            assert (await client.post("/v1/feedback", json=said)).status_code == 202
        bad = await client.post("/v1/feedback", json={"id": "x", "label": 2})
        assert (bad.status_code, "wrong at label" in bad.json()["error"]) == (400, True)
        assert (await client.post("/v1/crops", content=b"no picture", headers={"x-subject": "s0"})).status_code == 415
        shown = ServiceAnswer.model_validate_json((await client.get("/v1/model")).content)
        assert [one.role for one in shown.models] == ["champion", "challenger"]

    converse(service, talk)
    rows = history.scan(str(tmp_path / "events"), "requests").collect()
    answered = rows.filter(rows["status"] == 200)
    assert dict(zip(answered["id"], answered["role"], strict=True)) == found
    assert set(rows["share"]) == {0.5}
    assert rows.filter(rows["status"] == 415)["reason"].to_list() == ["wrong_type"]
    assert not any(subject in json.dumps(rows["subject_hash"].to_list()) for subject in ('"s0"', '"s1"'))
    assert history.scan(str(tmp_path / "events"), "feedback").collect()["label"].to_list() == [1] * 20


def test_the_metrics_can_be_read_and_no_request_makes_a_series(
    tmp_path: Path, trained: Path, clip: Path, crops: list[bytes]
) -> None:
    async def talk(client: httpx2.AsyncClient) -> None:
        await asyncio.gather(*(client.post("/v1/crops", content=one) for one in crops))
        await client.post("/v1/videos", content=clip.read_bytes())
        await client.get("/v1/jobs/nobody")
        before = (await client.get("/metrics")).text
        for name in ("a", "b", "%2e%2e", "\u00e9"):
            await client.get(f"/{name}/{name}")
            await client.get(f"/v1/jobs/{name}")
        after = (await client.get("/metrics")).text
        samples = {
            (one.name, *sorted(one.labels.items())): one.value
            for family in text_string_to_metric_families(after)
            for one in family.samples
        }
        assert samples["semblance_requests_total", ("route", "/v1/crops"), ("status", "200")] == len(crops)
        assert samples[("semblance_crops_batch_size_sum",)] == len(crops)
        assert samples[("semblance_faces_total", ("outcome", "scored"))] > 0
        assert samples["semblance_model", ("name", "detector"), ("role", "champion"), ("version", "1.0.0")] == 1
        kinds = [
            {
                (one.name, *sorted(one.labels))
                for family in text_string_to_metric_families(text)
                for one in family.samples
            }
            for text in (before, after)
        ]
        routes = {
            one.labels["route"]
            for family in text_string_to_metric_families(after)
            for one in family.samples
            if "route" in one.labels
        }
        assert kinds[0] == kinds[1]
        assert routes == {"/v1/crops", "/v1/videos", "/v1/jobs/{name}", "/metrics", "unknown"}

    converse(services.make(tmp_path, trained), talk)


def test_only_allowed_addresses_are_read(
    tmp_path: Path, trained: Path, clip: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from semblance.manifests import storage

    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    storage.write_bytes("s3://bucket/inbox/clip.mp4", clip.read_bytes())
    storage.write_bytes("s3://bucket/private/clip.mp4", clip.read_bytes())
    storage.write_bytes("s3://bucket/inbox/list.m3u8", b"#EXTM3U\n")

    async def talk(client: httpx2.AsyncClient) -> None:
        async def ask(address: str) -> int:
            return (await client.post("/v1/videos", json={"address": address})).status_code

        assert await ask("s3://bucket/inbox/clip.mp4") == 200
        assert await ask("s3://bucket/private/clip.mp4") == 403
        assert await ask("s3://bucket/inbox/../private/clip.mp4") == 403
        assert await ask("s3://bucket/inbox/absent.mp4") == 404
        assert await ask("s3://bucket/inbox") == 403
        assert await ask("s3://bucket/inbox/list.m3u8") == 415
        assert left(tmp_path) == ["0.png"]

    converse(services.make(tmp_path, trained, "videos.s3=[s3://bucket/inbox/]"), talk)


def test_a_service_that_cannot_score_says_so(tmp_path: Path, trained: Path) -> None:
    service = services.make(tmp_path, trained, "videos.memory_mib=512")
    broken = service.models.lineup.champion.recipe.model_copy(update={"detect": None})
    champion = dataclasses.replace(service.models.lineup.champion, recipe=broken)
    service.models.lineup = dataclasses.replace(service.models.lineup, champion=champion)

    async def talk() -> None:
        await service.start()
        with pytest.raises(AttributeError) as fault:
            await service.warmed()
        transport = httpx2.ASGITransport(app=app.build(service))
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            told = await client.get("/health/ready")
            assert told.status_code == 503
            assert told.json()["notes"] == [f"The service cannot become ready: {fault.value}"]
        await service.stop()

    asyncio.run(talk())


def test_a_killed_service_leaves_nothing_for_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with spool.folder() as first:
        (first / "request").write_bytes(b"x")
        with spool.folder() as inner:
            assert (first / "request").exists(), "a service that runs keeps its files"
            assert inner != first
        assert tempfile.gettempdir() == str(first)
    assert not first.exists()
    stale = first.parent / "killed"
    stale.mkdir()
    (stale / "upload").write_bytes(b"x")
    with spool.folder():
        assert not stale.exists()
    assert os.environ.get("TMPDIR") != str(first)


def test_a_blank_picture_cannot_be_told_from_its_copy(crops: list[bytes]) -> None:
    """The sizes that a WebP claims, in each of its three forms, are those that OpenCV decodes."""
    image = codec.decode(crops[0])
    for quality in (50, 101):
        data = cv2.imencode(".webp", image[:, :20], [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
        assert codec.claimed_size(data) == (20, image.shape[0])
