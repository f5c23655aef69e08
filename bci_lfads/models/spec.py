"""What an LFADS model is: sizes, form, and the quantisers it was trained with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Quantisers(BaseModel):
    """Quantisers that are part of the float model (a model trained quantisation-aware).

    All round to nearest, ties to even, and saturate. Steps are powers of two, given as points:
    a point of 9 is a step of 2⁻⁹.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight_point: int = 14
    """Weights and biases: step 2^-point, 16 bit."""
    state_point: int = 9
    """States, initial condition, factors: step 2^-point, 16 bit."""
    sigmoid_point: int = 16
    """Gates: 0 to 1 - 2^-point."""
    tanh_point: int = 15
    """Candidates: -1 to 1 - 2^-point."""


class LfadsSpec(BaseModel):
    """Sizes and form of an LFADS auto-encoder (design of arXiv 2402.04274 and lfads-torch).

    A bidirectional GRU encodes a window of counts into the generator's initial condition; the
    generator, a GRU without input, runs on from there; factors are a linear map of its state
    and log-rates a linear map of the factors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_units: int = Field(ge=1)
    n_bins: int = Field(ge=1)
    """Bins in a window."""
    n_ahead: int = Field(default=0, ge=0)
    """Bins predicted after the window."""
    encoder_size: int = Field(ge=1)
    """Hidden units of each direction of the encoder."""
    ic_size: int = Field(ge=1)
    """Size of the initial condition."""
    generator_size: int = Field(ge=1)
    n_factors: int = Field(ge=1)
    gru: Literal["reset_after", "reset_before"] = "reset_after"
    activation: Literal["hard", "smooth"] = "smooth"
    ic_map: Literal["direct", "linear"] = "direct"
    """Whether the initial condition is the generator's first state or is mapped to it."""
    cell_clip: float | None = Field(default=None, gt=0)
    """Bound of every GRU state after each step, or none."""
    quantisers: Quantisers | None = None

    @model_validator(mode="after")
    def _direct_means_equal(self) -> LfadsSpec:
        if self.ic_map == "direct" and self.ic_size != self.generator_size:
            raise ValueError(
                f"a direct initial condition needs ic_size = generator_size, got {self.ic_size} "
                f"and {self.generator_size}"
            )
        return self

    @property
    def n_bins_out(self) -> int:
        """Bins in the output."""
        return self.n_bins + self.n_ahead

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every float weight by name.

        GRU rows are ordered z, r, n. Matrices are (out, in).
        """
        N, E, I, G, F = (  # noqa: E741
            self.n_units,
            self.encoder_size,
            self.ic_size,
            self.generator_size,
            self.n_factors,
        )
        shapes: dict[str, tuple[int, ...]] = {}
        for side in ("forward", "backward"):
            shapes |= {
                f"encoder.{side}.input_weight": (3 * E, N),
                f"encoder.{side}.input_bias": (3 * E,),
                f"encoder.{side}.recurrent_weight": (3 * E, E),
                f"encoder.{side}.recurrent_bias": (3 * E,),
                f"encoder.{side}.initial_state": (E,),
            }
        shapes |= {"ic.weight": (I, 2 * E), "ic.bias": (I,)}
        if self.ic_map == "linear":
            shapes |= {"generator.initial.weight": (G, I), "generator.initial.bias": (G,)}
        shapes |= {
            "generator.input_bias": (3 * G,),
            "generator.recurrent_weight": (3 * G, G),
            "generator.recurrent_bias": (3 * G,),
            "factors.weight": (F, G),
            "rates.weight": (N, F),
            "rates.bias": (N,),
        }
        return shapes
