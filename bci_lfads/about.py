"""What a run says of itself on its Status stream, so that whoever watches needs no rig file."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bci_lfads.errors import StreamError
from bci_lfads.headers import Header
from bci_lfads.models.model import Model
from bci_lfads.rig import Rig, SlidingSettings

ELEMENT = "run"
"""Of the Status stream's ``desc``: a JSON document as `About.to_text` writes it."""
RATES = "unit_rates_hz"
"""Of a model's provenance: each unit's mean rate in training, Hz, with commas."""


@dataclass(frozen=True)
class About:
    """A run, or what a run of this rig would be.

    Attributes
    ----------
    rig
        Its settings; of the model file only the name.
    unit_labels, bin_width, n_bins, n_factors, model_hash
        The model's; `n_bins` are those that a window gives.
    unit_rates
        Each unit's mean rate in training, Hz; None where the model does not say.
    pid
        Of the loop's process on its machine; 0 where there is none.
    """

    rig: Rig
    unit_labels: tuple[str, ...]
    bin_width: float
    n_bins: int
    n_factors: int
    model_hash: str
    unit_rates: tuple[float, ...] | None = None
    pid: int = 0

    @property
    def hop(self) -> int | None:
        """Bins from one window to the next; None for trials."""
        return self.rig.window.hop if isinstance(self.rig.window, SlidingSettings) else None

    def to_text(self) -> str:
        """Return it as JSON."""
        # Names of files, without the folders of this machine.
        fpga = self.rig.fpga
        if fpga.xclbin is not None:
            fpga = fpga.model_copy(update={"xclbin": Path(fpga.xclbin.name)})
        rig = self.rig.model_copy(update={"model": Path(self.rig.model.name), "fpga": fpga})
        return json.dumps(
            {
                "rig": rig.model_dump(mode="json", exclude_none=True),
                "unit_labels": self.unit_labels,
                "bin_width": self.bin_width,
                "n_bins": self.n_bins,
                "n_factors": self.n_factors,
                "model_hash": self.model_hash,
                "unit_rates": self.unit_rates,
                "pid": self.pid,
            },
            separators=(",", ":"),
        )


def about(rig: Rig, model: Model, *, running: bool = False) -> About:
    """Return what a run of this rig says of itself.

    Parameters
    ----------
    rig, model
        What runs.
    running
        Whether this process runs it.
    """
    return About(
        rig, model.unit_labels, model.bin_width, model.spec.n_bins_out, model.spec.n_factors,
        model.hash, unit_rates(model), os.getpid() if running else 0,
    )  # fmt: skip


def unit_rates(model: Model) -> tuple[float, ...] | None:
    """Return each unit's mean rate in training, Hz, if the model's provenance has it."""
    try:
        rates = tuple(float(text) for text in model.provenance.get(RATES, "").split(","))
    except ValueError:
        return None
    fits = len(rates) == len(model.unit_labels) and all(0 <= r < math.inf for r in rates)
    return rates if fits else None


def read_about(header: Header) -> About:
    """Read what a run says of itself.

    Parameters
    ----------
    header
        Of its Status stream.

    Raises
    ------
    StreamError
        Where it says nothing, or what this version does not understand.
    """
    text = header.text(ELEMENT)
    if not text:
        raise StreamError(f"stream '{header.name}' does not say what runs; it is of an old version")
    try:
        content = json.loads(text)
        rates = content["unit_rates"]
        return About(
            Rig.model_validate(content["rig"]),
            tuple(str(label) for label in content["unit_labels"]),
            float(content["bin_width"]),
            int(content["n_bins"]),
            int(content["n_factors"]),
            str(content["model_hash"]),
            None if rates is None else tuple(float(rate) for rate in rates),
            int(content["pid"]),
        )
    except (KeyError, TypeError, ValueError, ValidationError, RecursionError) as error:
        raise StreamError(
            f"stream '{header.name}' describes its run in words of another version: {error}"
        ) from error


def read_message(text: str | bytes) -> dict[str, Any] | None:
    """Return a message on Status; None where it is none, whoever sent it."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
