"""A local Ray with the service in it, as a process: options as JSON in, its port out, until its input ends."""

from __future__ import annotations

import json
import os
import socket
import sys

import ray
from ray import serve

from semblance.training.serving import ray_app
from semblance.training.serving.ray_app import RayOptions


def main() -> None:
    options = RayOptions.model_validate(json.loads(sys.argv[1]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=os.environ["TMPDIR"], log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(ray_app.application(options))
    print(port, flush=True)
    sys.stdin.read()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
