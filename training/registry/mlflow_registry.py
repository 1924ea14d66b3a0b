"""Models in MLflow's registry: versions with tags, aliases that move, packages among MLflow's files or elsewhere.

A registered model has the tag ``rollout``, a version the tags ``version`` (semantic), ``package_sha256`` (of its
package.json), ``identity`` (what the next version is compared with) and, where ``package`` is set, the address of a
package outside of MLflow's own files. Beside the aliases of ``records`` each version has its own, ``v1-2-0``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from semblance.manifests import storage
from semblance.manifests.config import canonical_json
from semblance.manifests.errors import SemblanceError, StorageError, UsageError
from semblance.training.registry import contents, package, shelf, signature
from semblance.training.registry.records import ALIASES, CHALLENGER, CHAMPION, Package, Route, Semantic, Version
from semblance.training.runs.tracking import mlflow_store

T = TypeVar("T")
VERSION, SHA256, IDENTITY, LINEAGE = "version", "package_sha256", "identity", "lineage"
PACKAGE, ROLLOUT = "package", "rollout"
_EXPERIMENT: Final = "semblance registry"
_FOLDER: Final = "package"  # among the files of a run
_FILE: Final = "sqlite:///"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADVICE: Final = "see --registry"
_ABSENT: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's codes, of a model and of an alias


class MLflowRegistry:
    """The ``Registry`` of records.py, in an MLflow store."""

    def __init__(self, address: str, public_key: str | Path | None = None, *, new: bool = False) -> None:
        """Open the store at ``address``: ``sqlite:///FILE``, the path of such a file, or a server's address.

        ``public_key``: what packages are verified with. ``new``: make the store if it is a file that does not exist.
        Raises StorageError if it is not there.
        """
        self.address = address if "://" in address else f"{_FILE}{address}"
        self.public_key = None if public_key is None else Path(public_key)
        file = Path(self.address.removeprefix(_FILE))
        if self.address.startswith(_FILE) and not new and not file.is_file():
            raise StorageError(f"There is no registry at {file}; `training registry add` makes one, see --registry.")
        # a server that is away is told within seconds; the service asks again by itself
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        with self._told():
            self._client = mlflow_store.client(self.address)

    def models(self) -> list[str]:
        """The names of all models that have a version, sorted."""
        with self._told():
            found = _pages(lambda token: self._client.search_registered_models(page_token=token))
            return sorted(one.name for one in found if one.latest_versions)

    def find(self, model: str, which: str) -> Version:
        versions = self.versions(model)
        for one in versions:
            if which in one.aliases or which == str(one.version):
                return one
        known = ", ".join(_described(one) for one in versions)
        raise UsageError(f"{model} has no version or alias {which!r}; it has {known}.")

    def versions(self, model: str) -> list[Version]:
        return self._read(model)[0]

    def _read(self, model: str) -> tuple[list[Version], Mapping[str, str]]:
        """The versions of a model, and its tags."""
        check_name(model)
        with self._told():
            entry = self._absent(lambda: self._client.get_registered_model(model))
            rows = [] if entry is None else _pages(self._search(model))
        named: dict[int, list[str]] = {}
        for alias, number in (entry.aliases if entry is not None else {}).items():
            named.setdefault(int(number), []).append(alias)
        versions = [_version(row, named.get(int(row.version), [])) for row in rows if VERSION in row.tags]
        if not versions:
            known = ", ".join(self.models()) or "none"
            raise UsageError(f"The registry {self.address} has no model {model!r}; it has {known}.")
        return sorted(versions, key=lambda one: one.version), {} if entry is None else entry.tags

    def _search(self, model: str) -> Callable[[str | None], Any]:
        return lambda token: self._client.search_model_versions(f"name='{model}'", page_token=token)

    def route(self, model: str) -> Route:
        versions, tags = self._read(model)
        by_alias = {alias: one for one in versions for alias in one.aliases}
        if CHAMPION not in by_alias:
            raise UsageError(f"{model} has no champion; name one with `training registry promote {model} VERSION`.")
        state = _state(model, tags.get(ROLLOUT))
        return Route(
            champion=by_alias[CHAMPION],
            challenger=by_alias.get(CHALLENGER) if state else None,
            share=float(state.get("share", 0.0)) if CHALLENGER in by_alias else 0.0,
            rollout=str(state.get("id", "")),
            state=state,
        )

    def set_alias(self, version: Version, alias: str) -> None:
        _check_alias(alias)
        with self._told():
            self._client.set_registered_model_alias(version.model, alias, str(version.number))

    def drop_alias(self, model: str, alias: str) -> None:
        _check_alias(alias)
        with self._told():
            self._client.delete_registered_model_alias(model, alias)

    def set_rollout(self, model: str, state: Mapping[str, Any] | None) -> None:
        with self._told():
            if state is not None:
                self._client.set_registered_model_tag(model, ROLLOUT, canonical_json(dict(state)))
            elif ROLLOUT in self._client.get_registered_model(model).tags:
                self._absent(lambda: self._client.delete_registered_model_tag(model, ROLLOUT))

    def set_tags(self, version: Version, tags: Mapping[str, str]) -> None:
        """Note something with a version, such as what was judged when it was promoted."""
        with self._told():
            for name, value in tags.items():
                self._client.set_model_version_tag(version.model, str(version.number), name, value)

    def fetch(self, version: Version, cache: Path) -> Package:
        if self.public_key is None:
            raise UsageError("Packages are verified with a public key before they are used; name it with --public-key.")
        expected = version.tags.get(SHA256, "")
        folder = cache / version.model / f"{version.version}-{expected[:16]}"
        if not folder.exists():
            self._bring(version, folder)
        signature.verify(folder, self.public_key)
        found = contents.parse(folder / contents.FILE)
        if package.sha256(folder / contents.FILE) != expected or (found.model, found.version) != (
            version.model,
            str(version.version),
        ):
            raise SemblanceError(
                f"The registry gives the package of {found.model} {found.version} for {version.name}; do not use it, "
                "and find out who changed the registry."
            )
        return package.opened(folder)

    def _bring(self, version: Version, folder: Path) -> None:
        """Copy a package beside its place in the cache, then move it there; another process may be faster."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = folder.with_name(f".{folder.name}.{os.urandom(4).hex()}.partial")
        try:
            with self._told():
                self.copy(version, partial)
            partial.rename(folder)
        except OSError:
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def copy(self, version: Version, to: Path) -> None:
        """Copy the package of a version, unverified, into the new folder ``to``."""
        to.mkdir(parents=True)
        if PACKAGE in version.tags:
            shelf.copy(version.tags[PACKAGE], to)
            return
        with self._told(), storage.spool() as folder:
            run_id = self._client.get_model_version(version.model, str(version.number)).run_id
            self._client.download_artifacts(run_id, _FOLDER, str(folder))
            shutil.copytree(folder / _FOLDER, to, symlinks=True, dirs_exist_ok=True)

    def add(self, version: Semantic, folder: Path, *, store: str | None = None) -> Version:
        """Register the signed package in ``folder`` as a version of its model, and copy it to the store.

        ``store``: a folder or s3:// prefix for packages, by default MLflow's own files. Raises UsageError if there is
        such a version already.
        """
        made = contents.parse(folder / contents.FILE)
        check_name(made.model)
        self._free(made.model, version)
        tags = {
            VERSION: str(version),
            SHA256: package.sha256(folder / contents.FILE),
            IDENTITY: canonical_json(contents.identity(made).model_dump(mode="json")),
            LINEAGE: canonical_json(contents.lineage(made)),
        }
        if store is not None:
            tags[PACKAGE] = shelf.store(folder, store, made.model, version)
        with self._told():
            source, run_id = self._logged(made, folder if store is None else None)
            if self._absent(lambda: self._client.get_registered_model(made.model)) is None:
                self._created(made.model)
            row = self._client.create_model_version(made.model, source, run_id, tags=tags, await_creation_for=0)
            self._first(made.model, version, int(row.version))
            self._client.set_registered_model_alias(made.model, version.alias, str(row.version))
        return self.find(made.model, str(version))

    def _free(self, model: str, version: Semantic) -> None:
        """Raise UsageError if there is such a version."""
        with self._told():
            if self._absent(lambda: self._client.get_registered_model(model)) is None:
                return
            rows = _pages(self._search(model))
        if any(row.tags.get(VERSION) == str(version) for row in rows):
            raise UsageError(
                f"{model} has a version {version} already, and versions are never changed; take a new one."
            )

    def _first(self, model: str, version: Semantic, number: int) -> None:
        """Of several processes that add one version at once, the first one has it; the others take theirs back."""
        rows = _pages(self._search(model))
        if number != min(int(row.version) for row in rows if row.tags.get(VERSION) == str(version)):
            self._client.delete_model_version(model, str(number))
            raise UsageError(f"{model} was given a version {version} by another process just now; take a new one.")

    def _logged(self, made: contents.Contents, folder: Path | None) -> tuple[str, str]:
        """A run of MLflow for a package, with its files if they are to lie there; where they do, and its id."""
        experiment = mlflow_store.experiment_of(self._client, self.address, _EXPERIMENT)
        run = self._client.create_run(experiment, run_name=f"{made.model} {made.version}")
        if folder is not None:
            self._client.log_artifacts(run.info.run_id, str(folder), _FOLDER)
        self._client.set_terminated(run.info.run_id)
        return f"{run.info.artifact_uri}/{_FOLDER}", str(run.info.run_id)

    def _created(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise

    def _absent(self, ask: Callable[[], T]) -> T | None:
        """What MLflow answers, None if it says that there is no such thing."""
        from mlflow.exceptions import MlflowException

        try:
            return ask()
        except MlflowException as error:
            if error.error_code not in _ABSENT:
                raise
            return None

    @contextmanager
    def _told(self) -> Iterator[None]:
        with mlflow_store.told(self.address, _ADVICE, StorageError):
            yield


def check_name(model: str) -> None:
    """Raise UsageError for a name that could not be a folder's."""
    if _NAME.fullmatch(model) is None:
        raise UsageError(f"{model!r} is no name for a model; use up to 64 letters, digits, '-', '_' and '.'.")


def _check_alias(alias: str) -> None:
    if alias not in ALIASES:
        raise UsageError(f"{alias!r} is no alias of a model; use {', '.join(ALIASES)}.")


def _version(row: Any, aliases: list[str]) -> Version:
    semantic = Semantic.parse(row.tags[VERSION])
    return Version(
        model=row.name,
        version=semantic,
        number=int(row.version),
        source=row.tags.get(PACKAGE, row.source),
        aliases=tuple(sorted(alias for alias in aliases if alias != semantic.alias)),
        tags=dict(row.tags),
    )


def _described(one: Version) -> str:
    return f"{one.version} ({', '.join(one.aliases)})" if one.aliases else str(one.version)


def _state(model: str, text: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SemblanceError(f"The roll-out of {model} in the registry is damaged; stop it and start it again.")
    return found


def _pages(ask: Callable[[str | None], Any]) -> list[Any]:
    """All entries of an answer in pages."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = ask(token)
        found += page
        token = page.token
        if not token:
            return found
