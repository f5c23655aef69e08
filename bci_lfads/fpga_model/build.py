"""A build of the kernel: its compiled maxima and widths, from `fpga/include/lfads_config.h`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bci_lfads.errors import ModelError
from bci_lfads.models.spec import LfadsSpec

_CONFIG = "lfads_config.h"
_FIELDS = {
    "LFADS_MAX_UNITS": "max_units",
    "LFADS_MAX_BINS": "max_bins",
    "LFADS_MAX_HIDDEN": "max_hidden",
    "LFADS_MAX_FACTORS": "max_factors",
    "LFADS_REUSE": "reuse",
    "LFADS_SPIKES": "spikes",
}


@dataclass(frozen=True)
class Build:
    """What a kernel is compiled with; derived sizes are those of `fpga/include/lfads_card.h`.

    Attributes
    ----------
    max_units, max_bins, max_hidden, max_factors
        Largest model.
    reuse
        Products that each recurrent multiplier does in a step.
    spikes
        Units that fired, taken in a cycle by each direction's input projection.
    """

    max_units: int
    max_bins: int
    max_hidden: int
    max_factors: int
    reuse: int
    spikes: int

    @classmethod
    def of_kernel(cls, defines: Mapping[str, int] | None = None) -> Build:
        """Return the build of the kernel's own configuration.

        Parameters
        ----------
        defines
            What ``-D`` would set, for instance ``{"LFADS_REUSE": 16}``.

        Raises
        ------
        ModelError
            If the configuration lacks a parameter, or a define is none of its parameters.
        """
        found = dict(re.findall(r"^#define (\w+) (\d+)$", _config(), re.MULTILINE))
        values = {name: int(value) for name, value in found.items()} | dict(defines or {})
        if set(values) != set(_FIELDS):
            raise ModelError(
                f"the kernel's parameters are {', '.join(_FIELDS)}; got {', '.join(sorted(values))}"
            )
        for name, value in values.items():
            if value < 1:
                raise ModelError(f"{name} is {value}; it should be 1 or more")
        return cls(**{field: values[name] for name, field in _FIELDS.items()})

    @property
    def lanes(self) -> int:
        """Multipliers of a row of a cell."""
        return -(-self.max_hidden // self.reuse)

    @property
    def state(self) -> int:
        """`max_hidden`, padded to whole lanes."""
        return self.lanes * self.reuse

    @property
    def rows(self) -> int:
        """Rows of a cell: z, r and n."""
        return 3 * self.state

    @property
    def factors(self) -> int:
        """`max_factors`, padded to a block of 16."""
        return 16 * value_blocks(self.max_factors)

    def check(self, spec: LfadsSpec) -> None:
        """Refuse a model that this build has no place for.

        Raises
        ------
        ModelError
            Naming the size and the define that would make room.
        """
        for what, size, largest, define in (
            ("units", spec.n_units, self.max_units, "LFADS_MAX_UNITS"),
            ("bins out", spec.n_bins_out, self.max_bins, "LFADS_MAX_BINS"),
            ("encoder units", spec.encoder_size, self.max_hidden, "LFADS_MAX_HIDDEN"),
            ("generator units", spec.generator_size, self.max_hidden, "LFADS_MAX_HIDDEN"),
            ("initial conditions", spec.ic_size, self.max_hidden, "LFADS_MAX_HIDDEN"),
            ("factors", spec.n_factors, self.max_factors, "LFADS_MAX_FACTORS"),
        ):
            if size > largest:
                raise ModelError(
                    f"the model has {size} {what}, this build takes {largest}; estimate another "
                    f"with --define {define}={size}"
                )


def count_blocks(n_units: int) -> int:
    """Return the blocks of 64 bytes that a bin of counts takes."""
    return -(-n_units // 64)


def value_blocks(n: int) -> int:
    """Return the blocks of 16 words that a bin of factors or log-rates takes."""
    return -(-n // 16)


def _config() -> str:
    installed = files("bci_lfads") / "fpga_model" / _CONFIG
    if installed.is_file():
        return installed.read_text()
    source = Path(__file__).resolve().parents[2] / "fpga" / "include" / _CONFIG
    return source.read_text()
