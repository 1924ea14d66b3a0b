"""``quality report``: an HTML report on a build."""

from __future__ import annotations

from typing import Annotated

import typer

from semblance.manifests.console import friendly, plain


@friendly
def report(
    out: Annotated[str, typer.Argument(help="Build folder or s3:// prefix.")],
    compare: Annotated[str | None, typer.Option("--compare", help="Another build to compare with.")] = None,
    share: Annotated[bool, typer.Option("--share", help="Write a page without pictures, paths and ids.")] = False,
    attributes: Annotated[
        str | None, typer.Option("--attributes", help="Table with video_id and attribute columns, for filter fairness.")
    ] = None,
) -> None:
    """Write a self-contained HTML report on a build: findings of `quality audit`, counts, funnel, distributions and
    faces. Exits with 0 even if it finds problems.
    """
    from semblance.quality.audit.text import headline
    from semblance.quality.report import page as pages

    written = pages.write(out, compare=compare, share=share, attributes=attributes)
    print(f"{plain(written.url)}: {written.bytes / 1e3:,.0f} kB")
    print(f"{headline(written.findings)}.")
    for finding in written.findings:
        if finding.level != "note":
            print(f"  {finding.level}: {plain(finding.what)}")
    print("It contains no pictures, paths or ids." if share else pages.REDISTRIBUTION)
