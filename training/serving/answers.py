"""What the service answers, as JSON: its public contract.

Probabilities are in [0, 1], times in seconds from the start of the video, boxes in px of its upright frames, half-open.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

Verdict = Literal["real", "fake", "uncertain"]
MEANING: Final = (
    "A probability that faces were manipulated by methods like those that the model was trained on. It is no proof, "
    "and says nothing about the sound, the scene, or who is shown."
)


class Answer(BaseModel):
    """Base of every part of an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Served(Answer):
    """Which model answered. ``version`` is semantic (``1.2.0``), or ``unregistered`` for a run served as it is."""

    name: str
    version: str
    role: Literal["champion", "challenger"] = "champion"
    calibrated: bool


class Score(Answer):
    """``probability`` of fake; ``uncertainty``: two standard deviations of it over dropout, None where unknown."""

    verdict: Verdict
    probability: float
    uncertainty: float | None


class PersonAnswer(Score):
    """One person of a video: a score over all their faces. Times are None for a picture."""

    person: int
    pictures: int
    first_s: float | None
    last_s: float | None


class FaceAnswer(Score):
    """One scored face of a video. ``picture``: a small JPEG in base64, only if ``faces=true`` was asked for."""

    person: int
    frame: int
    time_s: float | None
    box: tuple[float, float, float, float]  # x0, y0, x1, y1
    picture: str | None = None


class Footage(Answer):
    """What was looked at."""

    width: int
    height: int
    fps: float | None
    duration_s: float | None
    frames_sampled: int
    faces_seen: int


class VideoAnswer(Score):
    """The answer for a video or a picture of a scene: the highest score of its persons, and all parts of it.

    ``rejected``: faces that were too small, too dark and so on, by reason. ``notes``: what makes the score worth less.
    ``seconds``: of work, by part.
    """

    id: str
    model: Served
    persons: tuple[PersonAnswer, ...]
    faces: tuple[FaceAnswer, ...]
    footage: Footage
    rejected: dict[str, int]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    meaning: str = MEANING


class CropAnswer(Score):
    """The answer for one face crop. ``logit``: the log odds before calibration."""

    id: str
    model: Served
    logit: float
    meaning: str = MEANING


class Problem(Answer):
    """Why there is no score: one sentence that says what to do, and a word for programs.

    Reasons of a file: ``no_face``, ``decode_error``, ``empty``, ``hdr``, ``timeout``, ``crashed``, ``oom``,
    ``too_long``, ``too_large``, ``wrong_type``. Of a request: ``unauthorized``, ``forbidden``, ``busy``, ``rate``,
    ``stopping``, ``not_found``, ``bad_request``, ``failed``.
    """

    error: str
    reason: str
    id: str


class JobAnswer(Answer):
    """A video that is scored later: ask again at ``address``. ``ahead``: jobs before it in the queue."""

    id: str
    address: str
    status: Literal["queued", "running", "done", "failed"]
    ahead: int | None = None
    answer: VideoAnswer | None = None
    problem: Problem | None = None


class Limits(Answer):
    """What a request may be."""

    video_mib: int
    video_seconds: float
    job_seconds: float
    crop_mib: int
    s3: bool


class ServiceAnswer(Answer):
    """Who answers here: ``GET /v1/model``."""

    models: tuple[Served, ...]
    device: str
    limits: Limits
    token: bool  # whether requests need one
    feedback: bool  # whether what users say of answers is kept


class Feedback(Answer):
    """What a user says of an answer, by its ``id``: the truth (0 real, 1 fake), and whether it served them."""

    id: str
    label: Literal[0, 1] | None = None
    satisfied: bool | None = None
