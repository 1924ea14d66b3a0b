"""What `make demo-serve` runs: the demo's ensemble is registered, served and asked, and another version is tried.

Usage: python examples/demo-serve/demo.py RUNS CLIPS WORK

RUNS holds what `make demo-train` trained, CLIPS is the demo collection, WORK a folder that is made anew. Every command
is printed as you would type it. Nothing leaves this machine, and nothing runs on when it ends.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TRAINING = str(Path(sys.executable).with_name("training"))
MODEL = "demo"


def main(runs: Path, clips: Path, work: Path) -> None:
    video = max(clips.rglob("*.mp4"), key=lambda file: (file.stat().st_size, file.name))
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    os.environ |= {"SEMBLANCE_REGISTRY": str(work / "registry.db"), "SEMBLANCE_PUBLIC_KEY": str(work / "release.pub")}
    say("A key signs packages; the ensemble becomes version 1.0.0, and the champion: gates judge its evaluation.")
    training("registry", "keygen", work / "release.pem")
    add = ("--model", MODEL, "--key", work / "release.pem")
    judged = ("--evaluation", runs / "evaluation" / "evaluation.json")
    training("registry", "add", runs / "ensemble", *add, "--version", "1.0.0", *judged)
    training("registry", "promote", MODEL, "1.0.0", "--gates", HERE / "gates.yaml", "--cache", work / "packages")
    say("It is served: the packages are verified, and the registry is followed.")
    with Service(work) as service:
        say("A video is sent.")
        show_video(service.ask("POST", "/v1/videos", video.read_bytes()))
        say("A single model becomes version 1.1.0, and answers 10 % of the subjects beside the champion.")
        training("registry", "add", runs / "resnet50", *add, "--bump", "minor")
        training("rollout", "start", MODEL, "1.1.0", "--plan", HERE / "rollout.yaml", "--events", work / "events")
        service.wait(lambda: len(service.ask("GET", "/v1/model")["models"]) == 2)
        say("Forty subjects send a face of the video; each always gets the same version.")
        picture = first_face(service, video)
        roles = [service.ask("POST", "/v1/crops", picture, subject=f"person {i}")["model"]["role"] for i in range(40)]
        again = [service.ask("POST", "/v1/crops", picture, subject=f"person {i}")["model"]["role"] for i in range(40)]
        counts = f"champion {roles.count('champion')}, challenger {roles.count('challenger')}"
        print(f"{counts}; the same again: {roles == again}")
        time.sleep(3)  # events are written in the background
        training("rollout", "status", MODEL)
        say("It is taken back, and the service follows.")
        started = time.perf_counter()
        training("rollout", "rollback", MODEL, "--reason", "The demo ends.")
        service.wait(lambda: len(service.ask("GET", "/v1/model")["models"]) == 1)
        print(f"from the command to the service: {time.perf_counter() - started:.1f} s")
        training("registry", "list")
        say("What Prometheus would read:")
        for line in service.text("/metrics").splitlines():
            if line.startswith(("semblance_requests_total", "semblance_model{", "semblance_faces_total")):
                print(line)
    say("The service has ended.")


def say(sentence: str) -> None:
    print(f"\n# {sentence}", flush=True)


def training(*words: object) -> None:
    """Run a command of ``training``, shown as it would be typed."""
    text = [str(word) for word in words]
    print(f"$ training {shlex.join(text)}", flush=True)
    subprocess.run([TRAINING, *text], check=True)


def show_video(answer: dict[str, Any]) -> None:
    spread = "unknown" if answer["uncertainty"] is None else f"{answer['uncertainty']:.3f}"
    model = f"{answer['model']['name']} {answer['model']['version']}"
    print(f"{answer['verdict']}, probability of fake {answer['probability']:.3f}, uncertainty {spread}, by {model}")
    for one in answer["persons"]:
        print(f"  person {one['person']}: {one['verdict']}, {one['probability']:.3f}, {one['pictures']} pictures")
    print(f"  {answer['seconds']['all']:.2f} s; {answer['meaning']}")


def first_face(service: Service, video: Path) -> bytes:
    """A small picture of a face, as the answer for a video brings it."""
    answer = service.ask("POST", "/v1/videos?faces=true", video.read_bytes())
    return base64.b64decode(answer["faces"][0]["picture"])


class Service:
    """`training serve` as a process of its own, ended with the block."""

    def __init__(self, work: Path) -> None:
        words = ["serve", "--model", MODEL, "--port", "0", "--cache", work / "cache", "--events", work / "events"]
        words += ["--set", "poll_seconds=0.5"]
        print(f"$ training {shlex.join(map(str, words))} &", flush=True)
        self._log = (work / "serve.log").open("w")
        self._process = subprocess.Popen(
            [TRAINING, *map(str, words)], stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def __enter__(self) -> Service:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                print(line.rstrip(), flush=True)
                if "http://" in line:
                    self._address = line.split()[-1].rstrip("/")
                    self.wait(lambda: self.ready)
                    return self
            raise SystemExit("The service did not start; see serve.log.")
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        if self._process.stdout is not None:
            print(self._process.stdout.read().rstrip(), flush=True)
            self._process.stdout.close()
        code = self._process.wait(120)
        self._log.close()
        if code:
            raise SystemExit(f"The service ended with code {code}; see serve.log.")

    @property
    def ready(self) -> bool:
        try:
            return self.text("/health/ready") != ""
        except urllib.error.HTTPError:
            return False

    def wait(self, condition: Any) -> None:
        for _ in range(1200):
            if condition():
                return
            time.sleep(0.1)
        raise SystemExit("The service did not follow; see serve.log.")

    def ask(self, method: str, path: str, body: bytes | None = None, subject: str = "") -> dict[str, Any]:
        headers = {"X-Subject": subject} if subject else {}
        request = urllib.request.Request(self._address + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=600) as answer:
            return dict(json.load(answer))

    def text(self, path: str) -> str:
        with urllib.request.urlopen(self._address + path, timeout=60) as answer:
            return str(answer.read().decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
