"""Options that say which network is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bci_lfads.errors import ModelError

if TYPE_CHECKING:
    from bci_lfads.fitting import Sizes
    from bci_lfads.models.spec import LfadsSpec

Factors = Annotated[int, typer.Option(min=1, help="Number of factors.")]
Hidden = Annotated[
    int, typer.Option(min=1, help="Units of each encoder direction and of the generator.")
]
Gru = Annotated[
    Literal["reset_after", "reset_before"],
    typer.Option(help="reset_after as in torch and Keras, reset_before as in lfads-torch."),
]
Activation = Annotated[Literal["smooth", "hard"], typer.Option(help="Of gates and candidates.")]
FirstStates = Annotated[
    Literal["learned", "fixed"],
    typer.Option(help="First states of the encoders: learned, or as they are, zero at first."),
]
IcSize = Annotated[
    int | None,
    typer.Option(
        min=1, help="Size of the initial condition; default: the generator's first state."
    ),
]
IsVariational = Annotated[
    bool, typer.Option("--variational", help="Train a variational auto-encoder.")
]
VarianceFloor = Annotated[
    float, typer.Option(min=0, help="Least variance of the initial condition's posterior.")
]
Kl = Annotated[
    float, typer.Option(min=0, help="Weight of the divergence from priors; 1: the lower bound.")
]
KlWarmUp = Annotated[
    int, typer.Option(min=0, help="Steps in which the weights of that and of --l2 rise.")
]
L2 = Annotated[float, typer.Option(min=0, help="Weight of recurrent weights' mean square.")]
Inputs = Annotated[
    int, typer.Option(min=0, help="Inputs that a controller infers; 0: no controller.")
]
ControllerSize = Annotated[
    int, typer.Option(min=1, help="Units of the controller and each direction of its encoder.")
]
InputLag = Annotated[
    int, typer.Option(min=0, help="Bins by which the controller sees its encoder late and early.")
]
InputPrior = Annotated[
    Literal["autoregressive", "independent"],
    typer.Option(help="Of inferred inputs over time, in a variational model."),
]


def sizes(
    factors: int,
    hidden: int,
    gru: str,
    activation: str,
    ic_size: int | None,
    floor: float | None,
    controller: tuple[int, int, int, str],
) -> Sizes:
    """Return what these options ask for.

    Parameters
    ----------
    factors, hidden, gru, activation, ic_size
        As in `Sizes`.
    floor
        Of the variance; None: deterministic.
    controller
        Number of inputs, size, lag and prior.
    """
    from bci_lfads.fitting import Sizes
    from bci_lfads.models.spec import Controller, Variational

    n_inputs, size, lag, prior = controller
    return Sizes(
        factors, hidden, gru, activation, ic_size,
        None if floor is None else Variational(ic_variance_floor=floor),
        None if not n_inputs else Controller(
            n_inputs=n_inputs, size=size, encoder_size=size, lag=lag,
            prior=prior,  # type: ignore[arg-type]  # pydantic checks
        ),
    )  # fmt: skip


_OF_A_FORM = (
    "factors", "hidden", "gru", "activation", "ic_size", "variational", "variance_floor", "inputs",
    "controller_size", "input_lag", "input_prior",
)  # fmt: skip


def check_given(context: typer.Context, old: LfadsSpec | None = None) -> None:
    """Refuse options that are given and would change nothing.

    Parameters
    ----------
    context
        Of a command with all options above.
    old
        Of a model to go on from, whose form is kept.

    Raises
    ------
    ModelError
        Naming them.
    """
    given = [
        name for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    ]  # fmt: skip
    asked = context.params
    variational = asked["variational"] if old is None else old.variational is not None
    posteriors = ["variance_floor", "kl", "input_prior"] + ["kl_warm_up"] * (not asked["l2"])
    rules = [
        ("sizes and form are those of the model to go on from", _OF_A_FORM, old is not None),
        ("only a --variational model has posteriors", posteriors, not variational),
        (
            "without --inputs there is no controller",
            ["controller_size", "input_lag", "input_prior"],
            old is None and not asked["inputs"],
        ),
    ]
    for why, names, idle in rules:
        if idle and (vain := [n for n in given if n in names]):
            options = ", ".join("--" + n.replace("_", "-") for n in vain)
            raise ModelError(f"{why}: leave out {options}")
