"""Who answers, by MLflow's registry: versions, aliases and roll-outs, without torch, so that a rollback is soon done.

A registered model has the tag ``rollout``, a version the tags ``version`` (semantic), ``package_sha256`` (of its
package.json), ``identity`` (what the next version is compared with), ``lineage`` and, where ``package`` is set, the
address of a package outside of MLflow's own files. Beside the aliases of ``records`` each version has its own,
``v1-2-0``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from semblance.manifests.config import canonical_json
from semblance.manifests.errors import SemblanceError, StorageError, UsageError
from semblance.training.registry.records import ALIASES, CHALLENGER, CHAMPION, Route, Semantic, Version
from semblance.training.runs.tracking import mlflow_store

T = TypeVar("T")
VERSION, SHA256, IDENTITY, LINEAGE = "version", "package_sha256", "identity", "lineage"  # tags of a version
PACKAGE, GATES, JUDGED_AT = "package", "gates", "judged_at"
ROLLOUT: Final = "rollout"  # tag of a model
_FILE: Final = "sqlite:///"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ADVICE: Final = "see --registry"


class Store:
    """The part of the ``Registry`` of records.py that needs no package."""

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
        with self.told():
            self.client = mlflow_store.client(self.address)

    def models(self) -> list[str]:
        """The names of all models that have a version, sorted."""
        with self.told():
            found = pages(lambda token: self.client.search_registered_models(page_token=token))
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
        with self.told():
            entry = mlflow_store.absent(lambda: self.client.get_registered_model(model))
            rows = [] if entry is None else pages(self.search(model))
        named: dict[int, list[str]] = {}
        for alias, number in (entry.aliases if entry is not None else {}).items():
            named.setdefault(int(number), []).append(alias)
        versions = [_version(row, named.get(int(row.version), [])) for row in rows if VERSION in row.tags]
        if not versions:
            known = ", ".join(self.models()) or "none"
            raise UsageError(f"The registry {self.address} has no model {model!r}; it has {known}.")
        return sorted(versions, key=lambda one: one.version), {} if entry is None else entry.tags

    def search(self, model: str) -> Callable[[str | None], Any]:
        """What asks for a page of MLflow's entries of a model."""
        return lambda token: self.client.search_model_versions(f"name='{model}'", page_token=token)

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
        with self.told():
            self.client.set_registered_model_alias(version.model, alias, str(version.number))

    def drop_alias(self, model: str, alias: str) -> None:
        _check_alias(alias)
        with self.told():
            self.client.delete_registered_model_alias(model, alias)

    def set_rollout(self, model: str, state: Mapping[str, Any] | None) -> None:
        with self.told():
            if state is not None:
                self.client.set_registered_model_tag(model, ROLLOUT, canonical_json(dict(state)))
            elif ROLLOUT in self.client.get_registered_model(model).tags:
                mlflow_store.absent(lambda: self.client.delete_registered_model_tag(model, ROLLOUT))

    def set_tags(self, version: Version, tags: Mapping[str, str]) -> None:
        """Note something with a version, such as what was judged when it was promoted."""
        with self.told():
            for name, value in tags.items():
                self.client.set_model_version_tag(version.model, str(version.number), name, value)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say in a sentence what the store refuses; raises StorageError."""
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


def pages(ask: Callable[[str | None], Any]) -> list[Any]:
    """All entries of an answer in pages."""
    found: list[Any] = []
    token: str | None = None
    while True:
        page = ask(token)
        found += page
        token = page.token
        if not token:
            return found
