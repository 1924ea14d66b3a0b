"""The open inference protocol (KServe V2, REST) for face crops.

Source: https://github.com/kserve/open-inference-protocol, required API. Input ``image``: UINT8 (N, S, S, 3) RGB, or
BYTES (N,) with JPEG, PNG or WebP files in base64. Outputs: ``probability``, ``uncertainty`` (-1 where unknown) and
``logit``, FP64 (N,). An error is an object with the key ``error``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import Any, Final, Literal

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from semblance.manifests.records import Image
from semblance.training.inference.video import Scored
from semblance.training.serving import problems, uploads
from semblance.training.serving.models import Loaded
from semblance.training.serving.problems import ProblemError
from semblance.training.serving.service import Asked, Service

_JSON_PER_BYTE: Final = 4  # "255," is what a byte of pixels may take
_OUTPUTS: Final = ("probability", "uncertainty", "logit")
Begin = Callable[[Request], Asked]


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore")
    name: Literal["image"]
    shape: tuple[int, ...]
    datatype: Literal["UINT8", "BYTES"]
    data: list[Any]


class _Infer(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: str | None = None
    inputs: tuple[_Input]


def mount(app: FastAPI, service: Service, begin: Begin) -> None:
    """Add the protocol's routes."""

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        return {"name": "semblance", "version": "1", "extensions": []}

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/v2/models/{name}/ready")
    @app.get("/v2/models/{name}/versions/{version}/ready")
    async def model_ready(request: Request, name: str, version: str | None = None) -> JSONResponse:
        begin(request)
        _model(service, name, version)
        return JSONResponse({"name": name, "ready": service.ready}, 200 if service.ready else 503)

    @app.get("/v2/models/{name}")
    @app.get("/v2/models/{name}/versions/{version}")
    async def model(request: Request, name: str, version: str | None = None) -> JSONResponse:
        begin(request)
        _model(service, name, version)
        return JSONResponse(_described(service, name))

    @app.post("/v2/models/{name}/infer")
    @app.post("/v2/models/{name}/versions/{version}/infer")
    async def infer(request: Request, name: str, version: str | None = None) -> JSONResponse:
        asked = begin(request)
        found = _model(service, name, version)
        asked = asked if version is None else service.pinned(asked, found)
        mib = service.config.crops.mib * _JSON_PER_BYTE
        body = await uploads.in_memory(request, "The request", mib, service.config.body_seconds)
        wanted = await asyncio.to_thread(_parsed, body)
        crops = await asyncio.to_thread(_crops, wanted.inputs[0])
        service.batcher.check(len(crops))
        scores = await asyncio.gather(*(service.crop(one, asked) for one in crops))
        return JSONResponse(_answer(wanted.id or asked.id, asked.model, scores))


def _model(service: Service, name: str, version: str | None) -> Loaded:
    """The model that is asked for; raises ProblemError (404) if it does not answer here."""
    for one in service.models.lineup.models:
        if one.served.name == name and version in (None, one.served.version):
            return one
    which = name if version is None else f"{name} {version}"
    raise ProblemError(404, "not_found", f"No model {which!r} answers here; GET /v1/model names those that do.")


def _described(service: Service, name: str) -> dict[str, Any]:
    versions = [one.served.version for one in service.models.lineup.models if one.served.name == name]
    return {
        "name": name,
        "versions": versions,
        "platform": "semblance",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
        "outputs": [{"name": one, "datatype": "FP64", "shape": [-1]} for one in _OUTPUTS],
    }


def _parsed(body: bytes) -> _Infer:
    try:
        return _Infer.model_validate_json(body)
    except ValidationError as error:
        raise problems.of_json(error, "with one input named `image`") from None


def _crops(given: _Input) -> list[bytes | Image]:
    if given.datatype == "BYTES":
        if given.shape not in ((len(given.data),), (len(given.data), 1)):
            raise _bad(f"its shape {list(given.shape)} is not that of {len(given.data)} elements")
        try:
            flat = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in given.data]
            return [base64.b64decode(one, validate=True) for one in flat]
        except (binascii.Error, TypeError, ValueError):
            raise _bad("its elements are not files in base64") from None
    try:
        values = np.asarray(given.data, np.int64)
        if len(given.shape) != 4 or given.shape[-1] != 3 or min(given.shape, default=0) < 1:
            raise _bad(f"its shape {list(given.shape)} is not (N, S, S, 3)")
        if values.size and not 0 <= values.min() <= values.max() <= 255:
            raise _bad("its values are outside 0 to 255")
        images = values.astype(np.uint8).reshape(given.shape)
    except (ValueError, TypeError, OverflowError):
        raise _bad(f"its data are not whole numbers of shape {list(given.shape)}") from None
    return list(images)


def _bad(why: str) -> ProblemError:
    return ProblemError(400, "bad_request", f"The input `image` cannot be used: {why}.")


def _answer(request: str, model: Loaded, scores: list[Scored]) -> dict[str, Any]:
    columns = {
        "probability": [one.probability for one in scores],
        "uncertainty": [-1.0 if one.uncertainty is None else one.uncertainty for one in scores],
        "logit": [one.logit for one in scores],
    }
    return {
        "model_name": model.served.name,
        "model_version": model.served.version,
        "id": request,
        "outputs": [
            {"name": name, "shape": [len(scores)], "datatype": "FP64", "data": columns[name]} for name in _OUTPUTS
        ],
    }
