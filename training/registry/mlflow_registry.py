"""The registry with its packages, which lie among the files of MLflow's runs, in a folder or in an object store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from semblance.manifests import storage
from semblance.manifests.config import canonical_json
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.registry import contents, package, shelf, signature
from semblance.training.registry.records import Package, Semantic, Version
from semblance.training.registry.store import IDENTITY, LINEAGE, PACKAGE, SHA256, VERSION, Store, check_name, pages
from semblance.training.runs.tracking import mlflow_store

_EXPERIMENT: Final = "semblance registry"
_FOLDER: Final = "package"  # among the files of a run


class MLflowRegistry(Store):
    """The ``Registry`` of records.py, in an MLflow store."""

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
            with self.told():
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
        with self.told(), storage.spool() as folder:
            run_id = self.client.get_model_version(version.model, str(version.number)).run_id
            self.client.download_artifacts(run_id, _FOLDER, str(folder))
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
        with self.told():
            source, run_id = self._logged(made, folder if store is None else None)
            if mlflow_store.absent(lambda: self.client.get_registered_model(made.model)) is None:
                self._created(made.model)
            row = self.client.create_model_version(made.model, source, run_id, tags=tags, await_creation_for=0)
            self._first(made.model, version, int(row.version))
            self.client.set_registered_model_alias(made.model, version.alias, str(row.version))
        return self.find(made.model, str(version))

    def _free(self, model: str, version: Semantic) -> None:
        """Raise UsageError if there is such a version."""
        with self.told():
            if mlflow_store.absent(lambda: self.client.get_registered_model(model)) is None:
                return
            rows = pages(self.search(model))
        if any(row.tags.get(VERSION) == str(version) for row in rows):
            raise UsageError(
                f"{model} has a version {version} already, and versions are never changed; take a new one."
            )

    def _first(self, model: str, version: Semantic, number: int) -> None:
        """Of several processes that add one version at once, the first one has it; the others take theirs back."""
        rows = pages(self.search(model))
        if number != min(int(row.version) for row in rows if row.tags.get(VERSION) == str(version)):
            self.client.delete_model_version(model, str(number))
            raise UsageError(f"{model} was given a version {version} by another process just now; take a new one.")

    def _logged(self, made: contents.Contents, folder: Path | None) -> tuple[str, str]:
        """A run of MLflow for a package, with its files if they are to lie there; where they do, and its id."""
        experiment = mlflow_store.experiment_of(self.client, self.address, _EXPERIMENT)
        run = self.client.create_run(experiment, run_name=f"{made.model} {made.version}")
        if folder is not None:
            self.client.log_artifacts(run.info.run_id, str(folder), _FOLDER)
        self.client.set_terminated(run.info.run_id)
        return f"{run.info.artifact_uri}/{_FOLDER}", str(run.info.run_id)

    def _created(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
                raise
