"""The command ``quality persons``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain
from semblance.manifests.errors import UsageError


@friendly
def persons(
    outs: Annotated[list[str], typer.Argument(help="Folders of finished builds, or s3:// prefixes.", metavar="OUT")],
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            help="Network: dlib (needs the extra `people`); a local file .dat (dlib), .pt "
            "(InceptionResnetV1), .onnx or .xml; facenet:vggface2 or facenet:casia-webface, which facenet-pytorch "
            "downloads.",
        ),
    ],
    network: Annotated[
        str | None,
        typer.Option(
            "--network", help="Alignment of an .onnx or .xml file: arcface, facenet, or a YAML file (docs/people.md)."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Parquet file for all builds. Default: manifests/persons.parquet in each build."),
    ] = None,
    keep_vectors: Annotated[
        str | None,
        typer.Option(
            "--keep-vectors", help="Parquet file for the vectors, which are biometric data. Default: they are not kept."
        ),
    ] = None,
    crops: Annotated[int, typer.Option("--crops", min=1, max=32, help="Maximum number of crops per person.")] = 5,
    least: Annotated[
        int, typer.Option("--least", min=1, help="Clusters of fewer clips join a large one or abstain.")
    ] = 4,
    linkage: Annotated[
        float | None, typer.Option("--linkage", min=0.001, max=1.999, help="Cosine distance that joins two clusters.")
    ] = None,
    attach: Annotated[
        float | None,
        typer.Option(
            "--attach", min=0.001, max=1.999, help="Cosine distance that joins a small cluster to a large one."
        ),
    ] = None,
    quarantine: Annotated[
        float | None,
        typer.Option("--quarantine", min=0.001, max=1.999, help="Cosine distance below which a clip is near a person."),
    ] = None,
    false_matches: Annotated[
        float,
        typer.Option(
            "--false-matches",
            min=0.00001,
            max=0.1,
            help="Share of pairs of two people that may be nearer than --linkage, where the collection shows enough.",
        ),
    ] = 0.001,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that embed faces.")] = 1,
    figures: Annotated[
        str | None, typer.Option("--json", help="File for all results as JSON ('-' prints them).")
    ] = None,
) -> None:
    """Estimate from faces which videos show the same person, where the dataset does not say.

    This is biometric processing: the faces of reals become vectors, which are compared and then forgotten, unless
    --keep-vectors names a file. Check that the dataset's terms and your law allow it. Known ids always win. Fakes get
    their original's person; donors whom the dataset does not name stay unknown. The table serves the split
    person_estimated. Nothing is downloaded unless --weights facenet:... asks for it.
    """
    import functools
    import json

    from semblance.manifests import persons as table
    from semblance.manifests import storage
    from semblance.quality.people import text, vectors
    from semblance.quality.people.embedders import door
    from semblance.quality.people.run import Wish, people

    for name, url in (("--to", to), ("--keep-vectors", keep_vectors)):
        if url is not None and not url.endswith(".parquet"):
            raise UsageError(f"{name} {plain(url)} must end in .parquet.")
    wish = Wish(crops=crops, least=least, rate=false_matches, linkage=linkage, attach=attach, quarantine=quarantine)
    load = functools.partial(door.load, weights, network)
    found = people(outs, load, wish, workers, _progress)
    written = [to] if to is not None else [table.url_of(out) for out in outs]
    if to is not None:
        table.write(to, table.Persons(rows=found.rows, about=found.about))
    else:
        for place, url in enumerate(written):
            table.write(url, found.of(place))
    if keep_vectors is not None:
        vectors.keep(found.faces, found.about, keep_vectors)
    if figures is not None:
        data = json.dumps(found.about, indent=1, sort_keys=True) + "\n"
        if figures == "-":
            print(data, end="")
            return
        storage.write_bytes(figures, data.encode())
    for line in text.lines(found.about):
        print(plain(line))
    for url in written:
        print(f"{plain(url)} is written")
    table_of = f" --persons {plain(to)}" if to is not None else ""
    print(f"next: shards repack {plain(outs[0])} --split person_estimated{table_of} --to OUT2")
    if keep_vectors is not None:
        print(f"{plain(keep_vectors)}: vectors of {found.faces.rows.height} faces, which are biometric data")


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done:,} of {total:,} crops", end="\n" if done == total else "", file=sys.stderr, flush=True)
