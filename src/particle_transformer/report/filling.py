"""Pages: their templates filled, in one style, and written."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from particle_transformer.atomic import replacing, writing
from particle_transformer.errors import require

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from particle_transformer.report.drawings import Drawing

__all__ = ["check_report_installed", "filled", "write_page"]


def check_report_installed(extra: str) -> None:
    """Check that all that pages with plots need is installed, before the work that they show.

    Parameters
    ----------
    extra
        The extra that it comes with for this page.

    Raises
    ------
    MissingExtraError
        If not.
    """
    for module in ("jinja2", "matplotlib", "mplhep", "pyhf"):
        require(module, extra)


def filled(template: str, extra: str, **values: Any) -> str:
    """Fill a template.

    Parameters
    ----------
    template
        Its file name.
    extra
        The extra that jinja2 comes with for this page.
    **values
        What the template gets, beside ``style``.

    Raises
    ------
    MissingExtraError
        Without jinja2.
    """
    jinja2 = require("jinja2", extra)
    package = files("particle_transformer.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = environment.from_string(package.joinpath(template).read_text("utf-8"))
    text: str = source.render(style=package.joinpath("style.css").read_text("utf-8"), **values)
    return text


def write_page(
    path: Path, template: str, drawings: Iterable[Drawing], extra: str, **values: Any
) -> Path:
    """Write ``plots/*.pdf`` beside a page and, last, the page.

    A page appears whole or not at all, and never stands beside plots of another one.

    Parameters
    ----------
    path
        Of the page; its folder is made where needed.
    template
        File name of its template.
    drawings
        Its plots, which the template gets by name as ``drawings``.
    extra
        The extra that jinja2 comes with for this page.
    **values
        What else the template gets.

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
    by_name = {drawing.name: drawing for drawing in drawings}
    page = filled(template, extra, drawings=by_name, **values)
    plots = path.parent / "plots"
    with writing(plots):
        plots.mkdir(parents=True, exist_ok=True)
    for drawing in by_name.values():
        with replacing(plots / f"{drawing.name}.pdf") as partial:
            partial.write_bytes(drawing.pdf)
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path
