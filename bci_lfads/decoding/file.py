"""A fitted decoder, and the file that keeps it: safetensors with one JSON document, no code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bci_lfads.decoding.steps import METHODS, Features, Running, Step
from bci_lfads.errors import DecoderError
from bci_lfads.models.model import Model
from bci_lfads.settings import Settings, wrong_settings

FORMAT = "bci-lfads decoder"
VERSION = 1
_MAX_BYTES = 1 << 28
Method = Literal["ridge", "kalman", "direction"]
Input = Literal["factors", "counts"]


class Facts(Settings):
    """What a decoder is, beside its numbers."""

    method: Method
    channels: tuple[str, ...] = Field(min_length=1)
    """Labels of the outputs."""
    unit: str = ""
    """Of the outputs."""
    input: Input = "factors"
    """What a row holds: factors as a run publishes them, or the newest bin's spike counts."""
    n_inputs: int = Field(ge=1)
    model_hash: str
    """Of the model whose factors it was fitted to."""
    bin_width: float = Field(gt=0)
    """Seconds."""
    mode: Literal["trials", "sliding"]
    hop: int | None = None
    """Bins from one window to the next; None for trials."""
    history: int = Field(default=0, ge=0, le=1000)
    """Rows before the newest that it sees too."""
    smoothing: float = Field(default=0.0, ge=0)
    """Time constant of an exponential average of the rows, seconds."""
    lag: float = 0.0
    """Seconds by which the behaviour follows the bins that it is decoded from."""
    behaviour: str = ""
    """Series of the recording, or pattern of markers, that it was fitted to."""

    @property
    def lags_ms(self) -> list[float]:
        """How far before the newest bin the rows lie that it sees, milliseconds."""
        return [round(1e3 * k * self.bin_width, 6) for k in range(self.history + 1)]


class _Document(Settings):
    facts: Facts
    provenance: dict[str, str]


@dataclass(frozen=True, eq=False)
class Decoder:
    """A fitted decoder.

    Attributes
    ----------
    facts
        What it is.
    tensors
        float64, by the names of the arguments of the method's class in `steps`.
    provenance
        Where it comes from; not part of `hash`.

    Raises
    ------
    DecoderError
        If a number is not finite, or shapes do not fit.
    """

    facts: Facts
    tensors: Mapping[str, NDArray[np.float64]]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        facts = self.facts
        m, n = facts.n_inputs * (facts.history + 1), len(facts.channels)
        linear = {"weights": (n, m), "offset": (n,)}
        gains = self.tensors.get("gains")
        shapes: dict[str, tuple[int, ...]] = linear
        if facts.method == "kalman":
            n_steps = max(1, len(gains) if gains is not None else 1)
            shapes = {
                "transition": (n, n), "drift": (n,), "observation": (m, n), "offset": (m,),
                "gains": (n_steps, n, m), "begin": (n,),
            }  # fmt: skip
        found = {name: value.shape for name, value in self.tensors.items()}
        if found != shapes:
            raise DecoderError(f"a {facts.method} decoder has tensors {shapes}; found {found}")
        for name, value in self.tensors.items():
            if value.dtype != np.float64 or not np.isfinite(value).all():
                raise DecoderError(f"tensor {name} holds {value.dtype}, not all finite float64")
        if len(set(facts.channels)) < n:
            raise DecoderError(f"channels must be unique; found {', '.join(facts.channels)}")

    @property
    def hash(self) -> str:
        """SHA-256 of everything that decides on the output, hexadecimal."""
        digest = hashlib.sha256(self.facts.model_dump_json().encode())
        for name in sorted(self.tensors):
            little = np.ascontiguousarray(self.tensors[name], "<f8")
            digest.update(name.encode() + b"\0" + json.dumps(little.shape).encode())
            digest.update(little.tobytes())
        return digest.hexdigest()

    def step(self) -> Step:
        """Return what turns features into outputs, with buffers of its own."""
        return METHODS[self.facts.method](**self.tensors)

    def start(self) -> Running:
        """Return the decoder ready to run on rows, with buffers of its own."""
        facts = self.facts
        features = Features(facts.n_inputs, facts.history, facts.smoothing / facts.bin_width)
        return Running(features, self.step(), len(facts.channels))

    def check_model(self, model_hash: str) -> None:
        """Refuse factors of another model.

        Raises
        ------
        DecoderError
            Naming both.
        """
        if model_hash != self.facts.model_hash:
            raise DecoderError(
                f"the decoder was fitted to factors of model {self.facts.model_hash[:12]}…, these "
                f"are of model {model_hash[:12] or 'unknown'}…; fit one with 'bci-lfads decode fit'"
            )

    def carried_to(self, model: Model) -> Decoder:
        """Return the decoder for a model whose factors mean the same as those it was fitted to.

        That is one that was made of the decoder's own by masking units or by realigning, which
        leave all behind the encoder's inputs as it is.

        Raises
        ------
        DecoderError
            If the model was made of another one.
        """
        own = self.facts.model_hash
        made_of = {model.provenance.get(name) for name in ("masked_from", "realigned_from")}
        if own not in made_of:
            raise DecoderError(
                f"model {model.hash[:12]}… was not made of model {own[:12]}…, to whose factors the "
                "decoder was fitted, by a mask or by 'bci-lfads realign'; fit one to it"
            )
        if model.bin_width != self.facts.bin_width:
            raise DecoderError(
                f"the model has bins of {1e3 * model.bin_width:g} ms, the decoder of "
                f"{1e3 * self.facts.bin_width:g} ms"
            )
        return Decoder(
            self.facts.model_copy(update={"model_hash": model.hash}),
            self.tensors,
            {**self.provenance, "carried_from": self.hash},
        )

    def save(self, path: Path) -> None:
        """Write the file; an existing one is replaced in one step.

        Raises
        ------
        DecoderError
            If it cannot be written.
        """
        document = _Document(facts=self.facts, provenance=dict(self.provenance))
        metadata = {
            "format": FORMAT,
            "format_version": str(VERSION),
            "hash": self.hash,
            "decoder": document.model_dump_json(),
        }
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            try:
                part.write_bytes(save(dict(self.tensors), metadata))
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise DecoderError(f"cannot write {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path) -> Decoder:
        """Read a file.

        Raises
        ------
        DecoderError
            If it is no decoder, is damaged, or from a newer version; naming what was found.
        """
        if not path.is_file():
            raise DecoderError(f"no decoder file at {path}; make one with 'bci-lfads decode fit'")
        if path.stat().st_size > _MAX_BYTES:
            raise DecoderError(f"{path} is larger than any decoder")
        try:
            with safe_open(path, framework="numpy") as file:
                metadata: dict[str, str] = file.metadata() or {}
                tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, TypeError) as error:
            raise DecoderError(f"{path} is not a readable safetensors file: {error}") from error
        if metadata.get("format") != FORMAT:
            raise DecoderError(
                f"{path} is not a decoder (format is {metadata.get('format')!r}); make one with "
                "'bci-lfads decode fit'"
            )
        if metadata.get("format_version") != str(VERSION):
            raise DecoderError(
                f"{path} has format version {metadata.get('format_version', '')[:20]!r}; this "
                f"bci-lfads reads {VERSION}"
            )
        try:
            document = _Document.model_validate_json(metadata.get("decoder", ""))
            decoder = cls(document.facts, tensors, document.provenance)
        except ValidationError as error:
            wrong = wrong_settings(error)
            raise DecoderError(f"{path}: its description is wrong: {wrong}") from error
        except DecoderError as error:
            raise DecoderError(f"{path}: {error}") from error
        if metadata.get("hash") != decoder.hash:
            raise DecoderError(f"{path} was changed or damaged after it was made; fit it again")
        return decoder
