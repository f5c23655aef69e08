"""The rules: one typed model of one TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from bci_lfads.errors import TriggerError
from bci_lfads.settings import Settings, beside, read_toml, wrong_settings

Number = Annotated[float, Field(allow_inf_nan=False)]
Point = Annotated[dict[str, Number], Field(min_length=1)]


class Limit(Settings):
    """No more than so many in any stretch of so many seconds."""

    count: int = Field(ge=1, le=10_000)
    seconds: float = Field(gt=0, allow_inf_nan=False)


class _Rule(Settings):
    name: str = Field(min_length=1, max_length=100)
    """Unique; in the log, on status and in the markers."""
    label: str = ""
    """What the marker says; default: the name."""
    hold: float = Field(default=0.0, ge=0, le=60)
    """Seconds for which the condition must hold before the rule fires."""
    refractory: float = Field(default=0.0, ge=0, le=3600)
    """Seconds after it fired for which it does not fire again."""
    limit: Limit | None = None
    """Of this rule, beside the one of all rules together."""


class Threshold(_Rule):
    """A channel above or below a threshold."""

    when: Literal["above", "below"]
    channel: str
    threshold: Number
    release: Number | None = None
    """The condition ends when the channel is back across this; default: the threshold."""

    @model_validator(mode="after")
    def _hysteresis(self) -> Threshold:
        beyond = 0.0 if self.release is None else self.release - self.threshold
        if (beyond > 0) if self.when == "above" else (beyond < 0):
            raise ValueError(
                f"release {self.release} is beyond the threshold {self.threshold}; '{self.when}' "
                "needs it on the other side"
            )
        return self


class Probability(_Rule):
    """A classifier's probability of a class."""

    when: Literal["class"]
    channel: str
    probability: float = Field(gt=0, le=1)
    release: float | None = Field(default=None, ge=0, le=1)
    """The condition ends when the probability is below this; default: the same."""

    @model_validator(mode="after")
    def _hysteresis(self) -> Probability:
        if self.release is not None and self.release > self.probability:
            raise ValueError(f"release {self.release} is above the probability {self.probability}")
        return self


class Ball(_Rule):
    """Within a distance of a point."""

    when: Literal["ball"]
    centre: Point
    radius: float = Field(gt=0, allow_inf_nan=False)
    release: float | None = Field(default=None, allow_inf_nan=False)
    """The condition ends when the distance is above this; default: the radius."""

    @model_validator(mode="after")
    def _hysteresis(self) -> Ball:
        if self.release is not None and self.release < self.radius:
            raise ValueError(f"release {self.release} is within the radius {self.radius}")
        return self


class Box(_Rule):
    """Between two corners."""

    when: Literal["box"]
    low: Point
    high: Point
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """The condition ends when a channel is further outside than this."""

    @model_validator(mode="after")
    def _is_a_box(self) -> Box:
        if set(self.low) != set(self.high) or any(self.low[c] >= self.high[c] for c in self.low):
            raise ValueError("low and high name the same channels, each low below its high")
        return self


class HalfSpace(_Rule):
    """Where ``normal · x`` is at least ``offset``."""

    when: Literal["half-space"]
    normal: Point
    offset: Number
    release: Number | None = None
    """The condition ends when the product is below this; default: the offset."""

    @model_validator(mode="after")
    def _hysteresis(self) -> HalfSpace:
        if self.release is not None and self.release > self.offset:
            raise ValueError(f"release {self.release} is above the offset {self.offset}")
        if not any(self.normal.values()):
            raise ValueError("a normal of zeros has no direction")
        return self


Rule = Annotated[Threshold | Probability | Ball | Box | HalfSpace, Field(discriminator="when")]


class TriggerSettings(Settings):
    """Everything that a trigger needs to know."""

    rig: str = Field(min_length=1, max_length=100)
    """Name of the rig, prefix of its streams."""
    stream: Literal["DecodedBehaviour", "Factors", "TrialFactors"] = "DecodedBehaviour"
    """Which of them the rules look at."""
    model_hash: str | None = None
    """Of the model that the rules were made for; default: of the first that is seen."""
    format: Literal["json", "label"] = "json"
    """Of the markers: JSON that says all, or the label alone."""
    max_age: float = Field(default=0.1, gt=0, le=60)
    """Seconds from a bin's end to its row here; an older row, or one so far ahead, is a fault."""
    max_silence: float = Field(default=0.5, gt=0, le=3600)
    """Seconds without a row after which that is a fault."""
    dead_man: float = Field(default=10.0, gt=0, le=3600)
    """Seconds after ``arm`` or ``renew`` in which ``renew`` must come, or it disarms."""
    limit: Limit
    """Of all rules together."""
    log: Path
    """Where every decision is written down, a line of JSON each; relative to the rules' folder."""
    rule: tuple[Rule, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _names_are_unique(self) -> TriggerSettings:
        names = [rule.name for rule in self.rule]
        if len(set(names)) < len(names):
            raise ValueError(f"rules need names of their own; found {', '.join(names)}")
        return self


def load_rules(path: Path) -> TriggerSettings:
    """Read a rules file.

    Raises
    ------
    TriggerError
        Naming the file, each setting that is wrong and what was found.
    """
    content = read_toml(path, "rules", TriggerError)
    try:
        settings = TriggerSettings.model_validate(content)
    except ValidationError as error:
        raise TriggerError(f"{path}: {wrong_settings(error)}") from error
    return settings.model_copy(update={"log": beside(path, settings.log, TriggerError)})
