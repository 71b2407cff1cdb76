"""Pages beside the report of a run: their templates filled, in its style, and written."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import replacing, writing
from particle_transformer.errors import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from particle_transformer.report.drawings import Drawing

__all__ = ["write_page"]


def write_page(
    path: Path, template: str, drawings: Sequence[Drawing], extra: str, **values: Any
) -> Path:
    """Write ``plots/*.pdf`` beside a page and, last, the page.

    Parameters
    ----------
    path
        Of the page; its folder is there.
    template
        File name of its template.
    drawings
        Its plots, which the template gets as ``drawings``.
    extra
        The extra that jinja2 comes with for this page.
    **values
        What else the template gets; ``style`` is that of the report.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    MissingExtraError
        Without jinja2.
    OutputError
        If a file cannot be written.
    """
    jinja2 = require("jinja2", extra)
    package = files("particle_transformer.report")
    style = package.joinpath("page.html.j2").read_text("utf-8")
    style = style.partition("<style>")[2].partition("</style>")[0]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = package.joinpath(template).read_text("utf-8")
    page: str = environment.from_string(source).render(style=style, drawings=drawings, **values)
    plots = path.parent / "plots"
    with writing(plots):
        plots.mkdir(exist_ok=True)
    for drawing in drawings:
        with replacing(plots / f"{drawing.name}.pdf") as partial:
            partial.write_bytes(drawing.pdf)
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
