"""An open ROOT file: its trees, and the sums that NanoAOD keeps beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import uproot

from particle_transformer.data.readers.damage import damaged, unreadable
from particle_transformer.data.readers.protocol import Generated
from particle_transformer.errors import InputFileError, nearest

__all__ = ["RNTUPLE", "TTREE", "RootFile"]

TTREE = "TTree"
RNTUPLE = "ROOT::RNTuple"


class RootFile:
    """A ROOT file.

    Parameters
    ----------
    path
        Local path or a URL that uproot understands.

    Raises
    ------
    InputFileError
        If the file is not a readable ROOT file, or shorter than its header says.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            # As a key of a dictionary the path may hold a colon.
            self._file = uproot.open({path: None}, array_cache=None, object_cache=None)
        except Exception as error:  # uproot raises whatever the damaged bytes lead it into
            raise unreadable(path, "ROOT", error) from error
        try:
            self._check_size()
        except InputFileError:
            self.close()
            raise

    def _check_size(self) -> None:
        """Refuse a file shorter than its header says, which may open all the same."""
        expected, found = self._file.file.fEND, self._file.file.source.num_bytes
        if found is not None and found < expected:
            message = (
                f"{self.path}: truncated or damaged: it has {found} bytes, its header says "
                f"{expected}; fetch it again"
            )
            raise InputFileError(message)

    def find(self, tree: str) -> tuple[Any, str]:
        """The tree or ntuple of that name (of several cycles the latest) and its class.

        Raises
        ------
        InputFileError
            If there is none, or it cannot be read.
        """
        try:
            classes = self._file.classnames(cycle=False)
            trees = sorted(name for name, kind in classes.items() if kind in (TTREE, RNTUPLE))
            hint = nearest(tree, trees) if trees else "the file holds no TTree"
            if tree not in classes:
                message = f"{self.path}: no tree {tree!r} in this file; {hint}"
                raise InputFileError(message)
            if tree not in trees:
                message = f"{self.path}: {tree!r} is a {classes[tree]}, expected a TTree; {hint}"
                raise InputFileError(message)
            return self._file[tree], classes[tree]
        except InputFileError:
            raise
        except Exception as error:
            raise unreadable(self.path, "ROOT", error) from error

    def generated(self) -> Generated | None:
        """Sums of the ``Runs`` tree as NanoAOD writes it; None where there is none."""
        try:
            if self._file.classnames(cycle=False).get("Runs") not in (TTREE, RNTUPLE):
                return None
            runs = self._file["Runs"]
            # NanoAOD v6 and v7 end these names in an underscore.
            names = runs.keys()
            suffix = next((end for end in ("", "_") if f"genEventSumw{end}" in names), None)
            if suffix is None:
                return None
            wanted = [f"genEventCount{suffix}", f"genEventSumw{suffix}"]
            sums = [runs[name].array(library="np") for name in wanted if name in names]
            lengths = {len(found) for found in sums} | {int(runs.num_entries)}
        except Exception as error:
            raise unreadable(self.path, "ROOT", error) from error
        if len(sums) < len(wanted):
            message = (
                f"{self.path}: its Runs tree has {wanted[1]} but no {wanted[0]}; expected both"
            )
            raise InputFileError(message)
        if len(lengths) > 1:
            raise damaged(self.path, "the branches of its Runs tree differ in length")
        count, total = (float(np.sum(found, dtype=np.float64)) for found in sums)
        return Generated(count, total)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
