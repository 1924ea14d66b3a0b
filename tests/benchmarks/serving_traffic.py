"""What locust sends: crops mostly, now and then a video, and the questions of a load balancer."""

from __future__ import annotations

import os
from pathlib import Path

from locust import HttpUser, constant, task

CROP, CLIP = (Path(os.environ[name]).read_bytes() for name in ("SEMBLANCE_CROP", "SEMBLANCE_CLIP"))


class Person(HttpUser):
    """Asks again as soon as it has an answer."""

    wait_time = constant(0)

    @task(40)
    def crop(self) -> None:
        self.client.post("/v1/crops", CROP, headers={"Content-Type": "image/jpeg"})

    @task(1)
    def video(self) -> None:
        self.client.post("/v1/videos", CLIP, headers={"Content-Type": "video/mp4"})

    @task(10)
    def health(self) -> None:
        self.client.get("/health/ready")
