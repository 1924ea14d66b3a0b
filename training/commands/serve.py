"""``training serve`` and ``training token``: a run or a registered model as a service."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.training.commands.output import libraries, say


@friendly
def serve(
    run: Annotated[
        str | None, typer.Option("--run", help="A run or an ensemble to serve as it is, to try it out.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="The model of a registry whose champion answers.")
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(
            "--registry",
            envvar="SEMBLANCE_REGISTRY",
            help="Its registry: a file, sqlite:///FILE or a server's address. Also $SEMBLANCE_REGISTRY.",
        ),
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(
            "--public-key",
            envvar="SEMBLANCE_PUBLIC_KEY",
            help="Public key that its packages are verified with. Also $SEMBLANCE_PUBLIC_KEY.",
        ),
    ] = None,
    cache: Annotated[
        str | None, typer.Option("--cache", help="Folder for its packages, used again while the registry is away.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0: any free one.")] = 8080,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="File of tokens, made by `training token`. Default: none is needed.")
    ] = None,
    open_to_all: Annotated[
        bool, typer.Option("--open", help="Listen at an address that others reach, without tokens.")
    ] = False,
    events: Annotated[
        str | None, typer.Option("--events", help="Folder or s3:// prefix for events and feedback (Parquet).")
    ] = None,
    jobs: Annotated[
        str | None, typer.Option("--jobs", help="Folder that keeps jobs over a restart. Default: they end with it.")
    ] = None,
    config: Annotated[str | None, typer.Option("--config", help="YAML file of settings; see docs/serving.md.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting by key=value, such as videos.workers=4.")
    ] = None,
) -> None:
    """Answer over HTTP: videos and face crops in, verdicts with probability and uncertainty out."""
    with libraries("serve"):
        from semblance.training.serving import run as serving
        from semblance.training.serving import start

    options = start.Options(
        run=run,
        model=model,
        registry=registry,
        public_key=public_key,
        cache=cache,
        tokens=tokens,
        events=events,
        jobs=jobs,
        config=config,
        settings=tuple(settings or ()),
    )
    serving.check_host(host, tokens=tokens is not None, open_to_all=open_to_all)
    with start.service(options) as service:

        def started(port: int) -> None:
            models = service.models
            for one in models.lineup.models:
                say(f"{one.served.role} {one.served.name} ({one.served.version}) on {one.device}")
            for note in models.notes:
                say(f"note: {note}")
            say(f"serving {models.lineup.champion.served.name}: http://{host}:{port}/")

        serving.run(service, host, port, started)
    with contextlib.suppress(BrokenPipeError):  # whoever started it may be gone
        say("stopped")


@friendly
def token(
    name: Annotated[str, typer.Argument(help="Whose token it is: the name that logs show.")],
    to: Annotated[str, typer.Option("--to", help="File of tokens; a line with its SHA-256 is added.")],
) -> None:
    """Make a token for `training serve --tokens FILE`. It is printed once and cannot be had again."""
    with libraries("serve"):
        from semblance.training.serving import access

    made = access.create(name, to)
    print(plain(made))
