"""A checkpoint of lfads-torch: its tensors, hyper-parameters and sessions, looked at with care."""

from __future__ import annotations

import math
import re
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.errors import ModelError
from bci_lfads.models.torch_file import StoredTensor, TorchFile

OURS = "bci_lfads"
"""Entry of a checkpoint with what lfads-torch has no place for."""
_MAX_SIZE = 1 << 14
Floats = NDArray[np.float64]


class Checkpoint:
    """A checkpoint of lfads-torch, open.

    Attributes
    ----------
    state
        Tensors by name, not read yet.
    settings
        Hyper-parameters.
    ours
        What ``bci-lfads model export`` wrote beside them.
    n_sessions
        How many sessions it was trained on.

    Parameters
    ----------
    path, file
        Where it is, and the file that was opened there.

    Raises
    ------
    ModelError
        If it is a checkpoint of something else.
    """

    def __init__(self, path: Path, file: TorchFile) -> None:
        self.path, self.file = path, file
        content = self.file.content
        state = content.get("state_dict") if isinstance(content, dict) else None
        if not isinstance(state, dict):
            found = sorted(map(str, content))[:5] if isinstance(content, dict) else "no dictionary"
            raise ModelError(
                f"{self.path} is a file of torch but no checkpoint of lfads-torch: it has "
                f"{found or 'nothing'} and no state_dict"
            )
        self.state: dict[str, Any] = {str(name): value for name, value in state.items()}
        given = content.get("hyper_parameters")
        self.settings: dict[str, Any] = given if isinstance(given, dict) else {}
        if "encoder.ic_enc_h0" not in self.state or not self.settings:
            lacks = "hyper_parameters" if not self.settings else "the tensor encoder.ic_enc_h0"
            raise ModelError(
                f"{self.path} is no checkpoint of lfads-torch: it lacks {lacks}. Give the .ckpt "
                "that lightning wrote in training"
            )
        data = content.get("datamodule_hyper_parameters")
        pattern = data.get("datafile_pattern") if isinstance(data, dict) else None
        self.pattern = pattern if isinstance(pattern, str) and len(pattern) < 1000 else ""
        ours = content.get(OURS)
        self.ours: dict[str, Any] = ours if isinstance(ours, dict) else {}
        self.n_sessions = len([n for n in self.state if re.fullmatch(r"readout\.\d+\.weight", n)])

    def whole(self, name: str, least: int = 0, default: int | None = None) -> int:
        """Return a hyper-parameter that is a whole number."""
        value = self.settings.get(name, default)
        if not isinstance(value, int) or not least <= value <= _MAX_SIZE:
            raise ModelError(
                f"{self.path}: hyper-parameter {name} is {_shown(value)}; expected a whole number "
                f"from {least} to {_MAX_SIZE}"
            )
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a hyper-parameter that is a number, infinity included."""
        value = self.settings.get(name, default)
        if not isinstance(value, int | float) or math.isnan(value):
            raise ModelError(
                f"{self.path}: hyper-parameter {name} is {_shown(value)}; expected a number"
            )
        return float(value)

    def shape(self, name: str, n_axes: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        tensor = self.state.get(name)
        if not isinstance(tensor, StoredTensor):
            raise ModelError(f"{self.path} lacks the tensor {name}; it is no whole checkpoint")
        if len(tensor.shape) != n_axes or max(tensor.shape) > _MAX_SIZE:
            raise ModelError(
                f"{self.path}: {name} has shape {tensor.shape[:8]}; expected {n_axes} axes of at "
                f"most {_MAX_SIZE}"
            )
        return tensor.shape

    def tensor(self, name: str, shape: tuple[int, ...]) -> Floats:
        """Return the values of a tensor of this shape."""
        found = self.shape(name, len(shape))
        if found != shape:
            raise ModelError(f"{self.path}: {name} has shape {found}; expected {shape}")
        values = self.file.read(self.state[name])
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise ModelError(
                f"{self.path}: {name} has values that are no finite numbers; the training that "
                "made it diverged, or the file is damaged"
            )
        return values.astype(np.float64)

    def session(self, asked: str | None) -> int:
        """Return the number of the session that is asked for."""
        n = self.n_sessions
        order = "in the order of its data files' names" + (
            f" ('{self.pattern}')" if self.pattern else ""
        )
        if n == 0:
            raise ModelError(
                f"{self.path} has no readout.0.weight: its readout is no linear map, and no other "
                "can be imported"
            )
        if asked is None:
            if n > 1:
                raise ModelError(
                    f"{self.path} was trained on {n} sessions; choose one with --session, a number "
                    f"from 0 to {n - 1}, {order}"
                )
            return 0
        if asked.isascii() and asked.isdigit():
            number = int(asked[:9])
            if number < n:
                return number
            raise ModelError(
                f"{self.path} has {n} sessions, of numbers from 0 to {n - 1}; session {asked[:20]} "
                "is none of them"
            )
        # lfads-torch numbers sessions by the sorted paths of their data files.
        files = [Path(name) for name in sorted(glob(self.pattern))] if self.pattern else []
        fits = [i for i, file in enumerate(files) if asked in (file.name, file.stem, str(file))]
        if len(files) != n or len(fits) != 1:
            raise ModelError(
                f"{self.path}: session '{asked}' cannot be told from the others, since its {n} "
                f"data files are not here; give a number from 0 to {n - 1}, {order}"
            )
        return fits[0]


def _shown(value: Any) -> str:
    return repr(value)[:40] if isinstance(value, str | int | float | None) else "no plain value"
