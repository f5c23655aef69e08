"""Where in a trial the windows lay that a model was trained on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Alignment(BaseModel):
    """Place of a window relative to a marker; patterns as in a rig file's trial settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: str = Field(min_length=1, max_length=200)
    """Pattern (``*`` and ``?``) of the marker that opens a trial."""
    align: str | None = Field(default=None, max_length=200)
    """Pattern of the marker that is time zero; default: the start marker."""
    offset: float = Field(default=0.0, allow_inf_nan=False)
    """Seconds from time zero to the window's first edge; negative is before."""
