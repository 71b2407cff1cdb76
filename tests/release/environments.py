"""Clean environments without a download: what the wheel declares, linked from this environment."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def requirements(wheel: Path, extras: Iterable[str]) -> list[Requirement]:
    """What the wheel's metadata requires with these extras, its own extras resolved."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().partition("\n\n")[0].splitlines()
    required = [Requirement(line[15:]) for line in lines if line.startswith("Requires-Dist: ")]
    own, wanted, found = wheel.name.split("-")[0].replace("_", "-"), {""}, list[Requirement]()
    pending = list(extras)
    while pending:
        wanted.add(extra := pending.pop())
        for requirement in required:
            if requirement.name == own and _applies(requirement, [extra]):
                pending.extend(requirement.extras - wanted)
    for requirement in required:
        if requirement.name != own and _applies(requirement, wanted):
            found.append(requirement)
    return found


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


def closure(required: Iterable[Requirement]) -> dict[str, Distribution]:
    """The distributions of this environment that satisfy requirements, with all that they need."""
    found: dict[str, Distribution] = {}
    pending = list(required)
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        requirement = pending.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        for text in found[name].requires or ():
            needed = Requirement(text)
            if _applies(needed, extras or [""]):
                pending.append(needed)
    return found


def installable(wheel: Path, extras: Iterable[str]) -> bool:
    """Whether this environment has what the extras need."""
    try:
        closure(requirements(wheel, extras))
    except PackageNotFoundError:
        return False
    return True


def environment(path: Path, wheel: Path, extras: Iterable[str] = ()) -> Path:
    """Make an environment with the wheel and nothing but what it declares; return its ``bin``."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    site = path / SITE
    for found in closure(requirements(wheel, extras)).values():
        for top in {file.parts[0] for file in found.files or () if file.parts[0] != ".."}:
            link = site / top
            if top != "__pycache__" and not link.exists():
                link.symlink_to(Path(str(found.locate_file(top))))
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        path,
    ]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], check=True)
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return path / "bin"
