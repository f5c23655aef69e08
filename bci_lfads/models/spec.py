"""What an LFADS model is: sizes, form, and the quantisers it was trained with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

_FORMS = ("variational", "controller")
"""Fields that are left out of a description where they are not set, so that models made before
there were such forms keep their hash."""


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


class Variational(BaseModel):
    """The posteriors of a variational auto-encoder.

    C. Pandarinath et al., "Inferring single-trial neural population dynamics using sequential
    auto-encoders", Nature Methods 15, 805-815, 2018. Inference takes the posteriors' means, so
    this form differs from the deterministic one in training only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ic_variance_floor: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Least variance of the initial condition's posterior: σ² = exp(log-variance) + floor
    (``ic_post_var_min`` of lfads-torch, A. R. Sedler and C. Pandarinath, "lfads-torch: A modular
    and extensible implementation of latent factor analysis via dynamical systems",
    arXiv 2309.01230, 2023)."""


class Controller(BaseModel):
    """The controller that infers inputs of the generator.

    Pandarinath et al. 2018, in the form of lfads-torch (Sedler and Pandarinath 2023); its
    equations are in `bci_lfads.models.controller`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_inputs: int = Field(ge=1)
    """Inferred inputs of a bin (``co_dim`` of lfads-torch)."""
    size: int = Field(ge=1)
    """Hidden units of the controller (``con_dim``)."""
    encoder_size: int = Field(ge=1)
    """Hidden units of each direction of the controller's encoder (``ci_enc_dim``)."""
    lag: int = Field(default=1, ge=0)
    """Bins by which the encoder's states are moved away from the bin they are of (``ci_lag``):
    the controller then cannot copy the counts that it is to explain."""
    ic_bins: int = Field(default=0, ge=0)
    """Bins at the window's start that only the encoder of the initial condition sees, the
    controller's encoder seeing the others (``ic_enc_seq_len``); 0: both see all."""
    prior: Literal["autoregressive", "independent"] = "autoregressive"
    """Of the inputs over time, in a variational model: AR(1) with mean zero, or normal in each bin
    by itself."""


class LfadsSpec(BaseModel):
    """Sizes and form of an LFADS auto-encoder (design of arXiv 2402.04274 and lfads-torch).

    A bidirectional GRU encodes a window of counts into the generator's initial condition; the
    generator, a GRU without input or with inputs that a controller infers, runs on from there;
    factors are a linear map of its state and log-rates a linear map of the factors.
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
    variational: Variational | None = None
    """Posteriors and priors for training; None: deterministic."""
    controller: Controller | None = None
    """Inferred inputs; None: the generator runs on by itself."""

    @model_validator(mode="after")
    def _fits(self) -> LfadsSpec:
        if self.ic_map == "direct" and self.ic_size != self.generator_size:
            raise ValueError(
                f"a direct initial condition needs ic_size = generator_size, got {self.ic_size} "
                f"and {self.generator_size}"
            )
        if self.quantisers is not None and (self.variational or self.controller):
            raise ValueError("quantisers go with the deterministic form without a controller only")
        if self.controller is not None:
            seen = self.n_bins - self.controller.ic_bins
            if seen < 1 or self.controller.lag >= seen:
                raise ValueError(
                    f"the controller's encoder sees {max(seen, 0)} of {self.n_bins} bins; that "
                    f"must be more than its lag of {self.controller.lag}"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_forms_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = handler(self)
        return {k: v for k, v in found.items() if k not in _FORMS or v is not None}

    @property
    def n_bins_out(self) -> int:
        """Bins in the output."""
        return self.n_bins + self.n_ahead

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight that the kernel computes with, by name.

        GRU rows are ordered z, r, n. Matrices are (out, in). A model with a controller has no
        form for the kernel; these are its weights beside the controller's.
        """
        N, E, I, G, F = (  # noqa: E741
            self.n_units,
            self.encoder_size,
            self.ic_size,
            self.generator_size,
            self.n_factors,
        )
        shapes = _encoder("encoder", N, E)
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

    def float_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every float weight of the model by name.

        Beside those of `weight_shapes` these are the controller's, and, in a variational model,
        those that training alone uses: the posteriors' log-variances and the priors.
        """
        shapes, variational = self.weight_shapes(), self.variational is not None
        if variational:
            ic = self.ic_size
            shapes |= {
                "ic.log_variance.weight": (ic, 2 * self.encoder_size),
                "ic.log_variance.bias": (ic,),
                "ic.prior.mean": (ic,),
                "ic.prior.log_variance": (ic,),
            }
        if self.controller is not None:
            con = self.controller
            K, C = con.size, con.n_inputs
            shapes |= _encoder("controller.encoder", self.n_units, con.encoder_size)
            shapes |= {
                "controller.input_weight": (3 * K, 2 * con.encoder_size + self.n_factors),
                "controller.input_bias": (3 * K,),
                "controller.recurrent_weight": (3 * K, K),
                "controller.recurrent_bias": (3 * K,),
                "controller.initial_state": (K,),
                "controller.mean.weight": (C, K),
                "controller.mean.bias": (C,),
                "generator.input_weight": (3 * self.generator_size, C),
            }
            if variational:
                shapes |= {
                    "controller.log_variance.weight": (C, K),
                    "controller.log_variance.bias": (C,),
                }
                shapes |= {f"controller.prior.{name}": (C,) for name in PRIORS[con.prior]}
        return shapes


PRIORS = {
    "autoregressive": ("log_tau", "log_noise_variance"),
    "independent": ("mean", "log_variance"),
}
"""Parameters of the priors of inferred inputs."""


def _encoder(where: str, n_units: int, size: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for side in ("forward", "backward"):
        shapes |= {
            f"{where}.{side}.input_weight": (3 * size, n_units),
            f"{where}.{side}.input_bias": (3 * size,),
            f"{where}.{side}.recurrent_weight": (3 * size, size),
            f"{where}.{side}.recurrent_bias": (3 * size,),
            f"{where}.{side}.initial_state": (size,),
        }
    return shapes
