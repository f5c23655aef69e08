"""The three streams of a decoder; docs/lsl.md is their contract."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pylsl
from numpy.typing import NDArray

from bci_lfads.decoding.file import Decoder
from bci_lfads.streams.metadata import Desc, stream_info
from bci_lfads.streams.outlets import as_json

LATENCY_CHANNELS = ("last_spike", "factors_pushed", "received", "pushed")
_SECONDS = 60  # that a slow consumer may lag behind
_MESSAGES = 1000


class DecodedOutlets:
    """Publishes decoded behaviour, latencies and the decoder's status.

    Parameters
    ----------
    rig
        Name of the rig whose factors are decoded, prefix of the streams.
    decoder
        What decodes.
    source
        The stream of factors, in words.
    """

    def __init__(self, rig: str, decoder: Decoder, source: str) -> None:
        facts = decoder.facts
        trials = facts.mode == "trials"
        where = ("trial", "bin") if trials else ()
        desc: dict[str, str | Desc] = {
            "bin_width": repr(facts.bin_width),
            "time_base": "auto",
            "window": {"mode": facts.mode, **({"hop": str(facts.hop)} if facts.hop else {})},
            "model": {"hash": facts.model_hash},
            "decoder": {
                "hash": decoder.hash,
                "method": facts.method,
                "behaviour": facts.behaviour,
                "lag": repr(facts.lag),
                "lags_ms": ", ".join(f"{ms:g}" for ms in facts.lags_ms),
                "smoothing": repr(facts.smoothing),
                "fitted_to": decoder.provenance.get("recording", ""),
            },
            "input_source": source,
            "synchronization": {"can_drop_samples": "true"},
        }
        rate = pylsl.IRREGULAR_RATE if trials else 1.0 / facts.bin_width
        samples_a_second = math.ceil(1.0 / facts.bin_width)
        unit = "probability" if facts.method == "direction" else facts.unit

        def outlet(
            stream: str, kind: str, labels: tuple[str, ...], kept: float, **more: object
        ) -> pylsl.StreamOutlet:
            reference = more.pop("reference", "")
            info = stream_info(
                f"{rig} {stream}", kind, source_id=f"bci-lfads:{rig}:{stream}", labels=labels,
                desc={**desc, **({"timestamp_reference": str(reference)} if reference else {})},
                **more,  # type: ignore[arg-type]
            )  # fmt: skip
            return pylsl.StreamOutlet(info, 0, math.ceil(kept))

        # LSL counts in hundreds of samples where there is no rate.
        hundreds = _SECONDS * samples_a_second / 100
        self._behaviour = outlet(
            "DecodedBehaviour", "Behaviour", facts.channels + where,
            hundreds if trials else _SECONDS, rate=rate,
            units=[unit] * len(facts.channels) + [""] * len(where), reference="centre",
        )  # fmt: skip
        self._latency = outlet(
            "DecodedLatency", "Metrics", LATENCY_CHANNELS, hundreds, units="s", form="double64",
            reference="end",
        )  # fmt: skip
        self._status = outlet("DecoderStatus", "Markers", ("status",), _MESSAGES, form="string")

    def push(self, rows: NDArray[np.float32], stamps: NDArray[np.float64]) -> None:
        """Publish behaviour with the factors' stamps; for trials the last columns say where."""
        self._behaviour.push_chunk(rows, stamps.tolist())

    def push_latency(self, end: float, moments: tuple[float, float, float, float]) -> None:
        """Publish the moments of `LATENCY_CHANNELS`, stamped with the window's end."""
        self._latency.push_sample(moments, end)

    def push_status(self, status: Mapping[str, object], time: float) -> None:
        """Publish a status as JSON."""
        self._status.push_sample([as_json(status)], time)

    def close(self) -> None:
        """Withdraw the streams."""
        del self._behaviour, self._latency, self._status
