#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""The same as make, for those who prefer nox: each session in an environment of its own."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
PYTHONS = ["3.11", "3.12", "3.13"]


def _install(session: nox.Session, *what: str) -> None:
    session.install("--constraint", "constraints.txt", *what)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, import layers, spelling and the habits of the guide."""
    _install(session, "--editable", ".[all]", "--group", "dev")
    for command in (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy",),
        ("lint-imports",),
        ("codespell",),
        ("repo-review", "."),
    ):
        session.run(*command)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs; a warning is an error."""
    _install(session, "--editable", ".[all]", "--group", "docs")
    options = ("--fail-on-warning", "--keep-going", "--nitpicky", "--quiet")
    session.run("sphinx-build", "-c", "docs", ".", "build/docs", *options)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; `nox -s tests -- -m slow` runs the slow ones."""
    _install(session, "--editable", ".[all]", "--group", "test")
    chosen = session.posargs or ("-m", "not slow")
    session.run("pytest", "-n", "auto", *chosen, env={"OMP_NUM_THREADS": "1"})


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Make the wheel and the source distribution, into dist."""
    _install(session, "build")
    session.run("python", "-m", "build")


if __name__ == "__main__":
    nox.main()
