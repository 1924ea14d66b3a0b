"""``training registry``: packages, signatures, versions, promotion and rollback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from semblance.manifests.console import friendly
from semblance.manifests.errors import UsageError
from semblance.training.commands.output import libraries, say

if TYPE_CHECKING:
    from semblance.training.registry.mlflow_registry import MLflowRegistry
    from semblance.training.registry.records import Version
    from semblance.training.registry.store import Store

app = typer.Typer(
    help="Keep models with versions, signatures and lineage, and say which one answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

STORE: Final = "runs/mlflow.db"
Registry = Annotated[
    str,
    typer.Option(
        "--registry",
        envvar="SEMBLANCE_REGISTRY",
        help="An MLflow store: a file, sqlite:///FILE or a server's address. Also $SEMBLANCE_REGISTRY.",
    ),
]
PublicKey = Annotated[
    Path,
    typer.Option(
        "--public-key",
        envvar="SEMBLANCE_PUBLIC_KEY",
        help="Public key that packages are verified with. Also $SEMBLANCE_PUBLIC_KEY.",
    ),
]
OptionalKey = Annotated[
    Path | None,
    typer.Option(
        "--public-key",
        envvar="SEMBLANCE_PUBLIC_KEY",
        help="Public key that packages are verified with, needed with --gates. Also $SEMBLANCE_PUBLIC_KEY.",
    ),
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model.")]
Which = Annotated[str, typer.Argument(metavar="VERSION", help="A version such as 1.2.0, or an alias.")]


@app.command()
@friendly
def keygen(
    private: Annotated[Path, typer.Argument(metavar="FILE", help="New file for the private key, such as release.pem.")],
) -> None:
    """Make a pair of keys: FILE signs packages and stays secret, FILE with suffix .pub verifies them."""
    with libraries("serve"):
        from semblance.training.registry import signature

        public = signature.keygen(private)
    say(f"private key, keep it secret: {private}")
    say(f"public key, for all who use packages: {public}")


@app.command()
@friendly
def add(
    run: Annotated[str, typer.Argument(help="A run or an ensemble.")],
    model: Annotated[str, typer.Option("--model", help="Name of the model that it is a version of.")],
    key: Annotated[Path, typer.Option("--key", help="Private key that signs the package.")],
    version: Annotated[str | None, typer.Option("--version", help="Its version, such as 1.2.0.")] = None,
    bump: Annotated[
        str | None,
        typer.Option(
            "--bump",
            help="Or the step from the newest version. major: other labels or crops; minor: other answers; patch: the "
            "same answers.",
        ),
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option("--evaluation", help="evaluation.json of this run, for the card and the gates.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Build whose crops OpenVINO's features are checked on. Default: the run's."),
    ] = None,
    no_openvino: Annotated[
        bool, typer.Option("--no-openvino", help="Leave OpenVINO's graphs out; the service then runs torch alone.")
    ] = False,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="State val's thresholds too, which takes a pass over val.")
    ] = False,
    store: Annotated[
        str | None,
        typer.Option("--store", help="Folder or s3:// prefix for packages. Default: MLflow's own files."),
    ] = None,
    registry: Registry = STORE,
) -> None:
    """Package a run, sign it, and register it as a new version; versions are never changed."""
    with libraries("serve"):
        from semblance.training.inference import predictor as predictors
        from semblance.training.registry import adding
        from semblance.training.registry.mlflow_registry import MLflowRegistry

        adding.check_step(version, bump)
        predictor = predictors.load(run)
        opened = MLflowRegistry(registry, new=True)
        wish = adding.Wish(
            model=model,
            version=version,
            bump=bump,
            key=key,
            store=store,
            evaluation=evaluation,
            graphs=not no_openvino,
        )
        done = adding.add(opened, predictor, wish, outs=data or (), thresholds=thresholds, say=say)
    say(f"{done.name} is registered in {opened.address}")


@app.command("list")
@friendly
def list_(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Only the versions of this model.")] = None,
    registry: Registry = STORE,
) -> None:
    """List models, their versions and who answers."""
    opened = store_at(registry)
    names = [model] if model is not None else opened.models()
    for name in names:
        for one in opened.versions(name):
            aliases = f"  {', '.join(one.aliases)}" if one.aliases else ""
            say(f"{one.name}{aliases}")
    if not names:
        say("the registry has no models")


@app.command()
@friendly
def fetch(
    model: Model,
    version: Which,
    public_key: PublicKey,
    to: Annotated[Path, typer.Option("--to", help="Folder that keeps fetched packages.")] = Path("packages"),
    registry: Registry = STORE,
) -> None:
    """Copy a version's package to this machine and verify it."""
    opened = registry_at(registry, public_key)
    found = opened.fetch(opened.find(model, version), to)
    say(f"verified: {found.folder}")


@app.command()
@friendly
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A fetched package.")],
    public_key: PublicKey,
) -> None:
    """Check that no file of a package was changed, added or removed since it was signed."""
    with libraries("serve"):
        from semblance.training.registry import contents, signature

        signature.verify(folder, public_key)
        found = contents.parse(folder / contents.FILE)
    say(f"{found.model} {found.version} is as its owner signed it")


@app.command()
@friendly
def show(model: Model, version: Which, registry: Registry = STORE) -> None:
    """Print a version: who it answers as, where it comes from, what it holds and what was judged."""
    opened = store_at(registry)
    from semblance.training.registry import shown

    for line in shown.lines(opened, opened.find(model, version)):
        say(line)


@app.command()
@friendly
def promote(
    model: Model,
    version: Which,
    to: Annotated[
        str, typer.Option("--to", help="champion, which answers, or challenger, which is tried.")
    ] = "champion",
    gates: Annotated[Path | None, typer.Option("--gates", help="YAML file of gates that it must pass.")] = None,
    without_gates: Annotated[
        bool, typer.Option("--without-gates", help="Make it the champion although nothing is judged.")
    ] = False,
    benchmark: Annotated[
        Path | None, typer.Option("--benchmark", help="benchmark.json for the gates that name its answers.")
    ] = None,
    public_key: OptionalKey = None,
    cache: Annotated[Path, typer.Option("--cache", help="Folder that keeps fetched packages.")] = Path("packages"),
    registry: Registry = STORE,
) -> None:
    """Let a version answer, or be tried beside the champion, if it passes all gates; the old champion is kept."""
    if to not in ("champion", "challenger"):
        raise UsageError(f"--to {to!r} is neither champion nor challenger.")
    if gates is None and to == "champion" and not without_gates:
        raise UsageError("A champion has to pass gates; name their file with --gates, or say --without-gates.")
    from semblance.training.registry import promotion

    if gates is None:
        opened = store_at(registry)
        found = opened.find(model, version)
    else:
        opened, found = _judged(model, version, gates, benchmark, registry_at(registry, public_key), cache)
    if to == "challenger":
        promotion.challenge(opened, found)
        say(f"{found.name} is the challenger; `training rollout start` lets it answer")
        return
    done = promotion.promote(opened, found)
    before = f" instead of {done.before.version}" if done.before not in (None, done.champion) else ""
    say(f"{done.champion.name} answers{before}")


@app.command()
@friendly
def rollback(model: Model, registry: Registry = STORE) -> None:
    """Let the previous champion answer again, and stop a roll-out."""
    opened = store_at(registry)
    from semblance.training.registry import promotion

    done = promotion.rollback(opened, model)
    before = f" instead of {done.before.version}" if done.before is not None else ""
    say(f"{model} {done.champion.version} answers{before}")
    if done.stopped:
        say(f"the roll-out {done.stopped} is stopped")


def _judged(
    model: str, version: str, gates: Path, benchmark: Path | None, opened: MLflowRegistry, cache: Path
) -> tuple[MLflowRegistry, Version]:
    from semblance.training.registry import gated
    from semblance.training.registry import gates as gating

    wanted = gating.read(gates)
    measured = None if benchmark is None else gating.read_benchmark(benchmark)
    found = opened.find(model, version)
    for one in gated.judge(opened, found, wanted, cache, benchmark=measured, say=say):
        say(f"passed: {one}")
    return opened, found


def registry_at(address: str, public_key: Path | None = None) -> MLflowRegistry:
    """The registry at an address, with packages."""
    with libraries("serve"):
        from semblance.training.registry.mlflow_registry import MLflowRegistry

        return MLflowRegistry(address, public_key)


def store_at(address: str) -> Store:
    """The registry without what packages need, which takes seconds to load."""
    with libraries("serve"):
        from semblance.training.registry.store import Store

        return Store(address)
