"""The routes of the service; what they do is in ``service``."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from semblance.training.serving import compose, logs, open_inference, page_files, problems, remote, uploads
from semblance.training.serving.answers import (
    CropAnswer,
    Feedback,
    JobAnswer,
    Limits,
    Problem,
    ServiceAnswer,
    VideoAnswer,
)
from semblance.training.serving.jobs import Job
from semblance.training.serving.observed import Observed
from semblance.training.serving.problems import ProblemError
from semblance.training.serving.service import Asked, Service
from semblance.training.serving.videos import SHOWN

_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 408, 413, 415, 422, 429, 503)
}
_JSON: Final = "application/json"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, a limit of the process
_SUBJECT: Final = 200  # characters of the header X-Subject
_FEEDBACK: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {_JSON: {"schema": Feedback.model_json_schema()}}}
}
Faces = Annotated[bool, Query(description="With a small picture of each face.")]


def build(service: Service, *, wait: bool = False) -> FastAPI:
    """The application of a service, which starts and stops with it; ``wait``: it has started once it is ready."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            if wait:
                await service.warmed()
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="Semblance",
        description="Scores videos and face crops for signs of manipulation.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts of others
        redoc_url=None,
    )
    app.add_middleware(Observed, metrics=service.metrics)
    _errors(app)
    _health(app, service)
    _scores(app, service)
    _jobs(app, service)
    page_files.mount(app)
    open_inference.mount(app, service, lambda request: begin(service, request))
    return app


def begin(service: Service, request: Request) -> Asked:
    """A request that is allowed: its token is known and it does not come too often. Raises ProblemError."""
    caller = ""
    if service.tokens.needed:
        caller = request.state.caller = service.tokens.name_of(request.headers.get("authorization"))
    service.rates.take(caller or (request.client.host if request.client else ""))
    if service.stopping:
        raise ProblemError(503, "stopping", "The service is stopping; send the request again in a few seconds.", 5)
    subject = request.headers.get("x-subject", "")[:_SUBJECT]
    asked = service.ask(subject, caller, request.state.id)
    request.state.model = f"{asked.model.served.name} {asked.model.served.version}"
    return asked


def told(answer: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A model of pydantic as the response."""
    return Response(answer.model_dump_json(), status, headers, _JSON)


def _errors(app: FastAPI) -> None:
    def problem(request: Request, status: int, reason: str, sentence: str, headers: dict[str, str]) -> Response:
        request.state.reason = reason
        return told(Problem(error=sentence, reason=reason, id=request.state.id), status, headers)

    @app.exception_handler(ProblemError)
    async def of_problem(request: Request, error: ProblemError) -> Response:
        headers = {} if error.retry_s is None else {"Retry-After": str(error.retry_s)}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return problem(request, error.status, error.reason, error.sentence, headers)

    @app.exception_handler(RequestValidationError)
    async def of_request(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(request, 400, "bad_request", f"The request is wrong at {where}: {first['msg']}.", {})

    @app.exception_handler(HTTPException)
    async def of_route(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            allowed = headers.get("Allow", "another method")
            return problem(request, 405, "bad_request", f"This address takes {allowed}, not {request.method}.", headers)
        sentence = "There is nothing at this address; see /openapi.json for those that there are."
        return problem(request, error.status_code, "not_found", sentence, headers)

    @app.exception_handler(OSError)
    async def of_disk(request: Request, error: OSError) -> Response:
        if error.errno not in _FULL:
            raise error
        logs.event("no room", reason=error.strerror)
        return await of_problem(request, problems.no_room())

    @app.exception_handler(Exception)
    async def of_defect(request: Request, _: Exception) -> Response:
        return problem(request, 500, "failed", "The service failed; tell whoever runs it, with this id.", {})


def _health(app: FastAPI, service: Service) -> None:
    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "live"}

    @app.get("/health/ready")
    async def ready() -> Response:
        """Whether requests should be sent here: 503 while it starts or stops."""
        status = "ready" if service.ready else "stopping" if service.stopping else "starting"
        known: dict[str, Any] = {"status": status, "notes": list(service.models.notes)}
        if service.models.registry_up is not None:
            known["registry"] = "up" if service.models.registry_up else "away"
        return Response(json.dumps(known), 200 if service.ready else 503, media_type=_JSON)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus's text format."""
        service.observe_models()
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/model", responses={200: {"model": ServiceAnswer}, 401: {"model": Problem}})
    async def model(request: Request) -> Response:
        """Which models answer here, and what a request may be."""
        begin(service, request)
        videos = service.config.videos
        limits = Limits(
            video_mib=videos.mib,
            video_seconds=videos.seconds,
            job_seconds=videos.job_seconds,
            crop_mib=service.config.crops.mib,
            s3=bool(videos.s3),
        )
        lineup = service.models.lineup
        return told(
            ServiceAnswer(
                models=tuple(one.served for one in lineup.models),
                device=lineup.champion.device,
                limits=limits,
                token=service.tokens.needed,
                feedback=service.log is not None,
            )
        )


def _scores(app: FastAPI, service: Service) -> None:
    config = service.config

    @app.post("/v1/crops", responses={200: {"model": CropAnswer}, **_PROBLEMS})
    async def crops(request: Request) -> Response:
        """Score a face crop: a JPEG, PNG or WebP as the body, or as the field ``file`` of a form."""
        asked = begin(service, request)
        data = await uploads.in_memory(request, "The crop", config.crops.mib, config.body_seconds)
        return told(compose.crop_answer(await service.crop(data, asked), asked.model.served, asked.id))

    @app.post("/v1/videos", responses={200: {"model": VideoAnswer}, **_PROBLEMS})
    async def videos(request: Request, faces: Faces = False) -> Response:
        """Score a video or picture: as the body, as the field ``file`` of a form, or where allowed by address as the
        JSON ``{"address": "s3://..."}``.
        """
        asked = begin(service, request)
        service.desk.check()
        async with _file(request, service) as file:
            return told(await service.video(file, asked, faces=faces))

    @app.post("/v1/feedback", status_code=202, responses=_PROBLEMS, openapi_extra=_FEEDBACK)
    async def feedback(request: Request) -> Response:
        """Say what was true of an answer (0 real, 1 fake), and whether it served."""
        begin(service, request)
        body = await uploads.in_memory(request, "The feedback", 1, config.body_seconds)  # FastAPI would take any length
        try:
            service.feedback(Feedback.model_validate_json(body))
        except ValidationError as error:
            raise problems.of_json(error, "as /openapi.json describes it") from None
        return Response('{"status": "kept"}', 202, media_type=_JSON)


def _jobs(app: FastAPI, service: Service) -> None:
    @app.post("/v1/jobs", status_code=202, responses={202: {"model": JobAnswer}, **_PROBLEMS})
    async def accept(request: Request, faces: Faces = False) -> Response:
        """Score a video later, as ``/v1/videos`` takes it; ask at the address in the answer."""
        asked = begin(service, request)
        service.jobs.check()
        async with _file(request, service) as file:
            job = Job(
                id=asked.id,
                owner=asked.caller,
                subject=asked.subject,
                faces=faces,
                accepted=asked.time.timestamp(),
            )
            answer = service.jobs.accept(job, file)
        return told(answer, 202, {"Location": answer.address})

    @app.get("/v1/jobs/{name}", responses={200: {"model": JobAnswer}, **_PROBLEMS})
    async def answer(name: str, request: Request) -> Response:
        """Where a job stands and, at the end, its answer."""
        return told(service.jobs.answer(name, begin(service, request).caller))

    @app.delete("/v1/jobs/{name}", status_code=204, responses=_PROBLEMS)
    async def remove(name: str, request: Request) -> Response:
        """Forget a job, its video and its answer."""
        service.jobs.remove(name, begin(service, request).caller)
        return Response(status_code=204)


def _file(request: Request, service: Service) -> Any:
    """The file of a request on disk, for the duration of a block."""
    videos, seconds = service.config.videos, service.config.body_seconds
    if request.headers.get("content-type", "").partition(";")[0].strip() == _JSON:
        return remote.fetched(request, service.folder, videos, seconds)
    return uploads.on_disk(request, service.folder, SHOWN, videos.mib, seconds)
