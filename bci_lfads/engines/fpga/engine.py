"""The engine that computes on a card."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import EngineInfo, Latents, allocate, check_counts, check_out
from bci_lfads.engines.fpga.card import Card
from bci_lfads.engines.fpga.lane import Wait
from bci_lfads.engines.fpga.loaded import LoadedModel
from bci_lfads.engines.fpga.served import ServedModel
from bci_lfads.engines.native import FixedPointModel
from bci_lfads.errors import EngineError
from bci_lfads.models.fixed import required
from bci_lfads.models.image import IMAGE_VERSION, pack_image

_log = logging.getLogger(__name__)

Launch = Literal["per-trial", "persistent"]


class FpgaEngine:
    """LFADS on an Alveo card: the native engine's integers. Not run on hardware.

    Parameters
    ----------
    model
        The model; its fixed-point part is what runs. Weights are loaded, no bitstream is made.
    xclbin
        The kernel's xclbin; None for what the variable ``BCI_LFADS_XCLBIN`` names.
    device
        Index of the card as ``xbutil examine`` counts, or its BDF, e.g. ``"0000:c1:00.1"``.
    wait
        How a window is waited for: ``spin`` or ``block``; see `Lane`.
    timeout
        Seconds within which the card must answer.
    batch
        Windows in a run of `infer_batch`.
    launch
        ``per-trial`` starts the kernel for each window or batch; ``persistent`` once, and it then
        looks into this host's memory for windows (`ServedModel`). Where card or xclbin do not
        offer that, a warning is logged and each window has a launch.
    hop
        Bins by which the windows of `infer` move on, if they do: a persistent kernel is then sent
        the new bins alone.

    Attributes
    ----------
    launch
        As it came out.

    Raises
    ------
    CardMissingError, CardBusyError, CardLostError, CardTimeoutError
        If the card cannot be had or does not answer.
    XclbinError
        If the xclbin is not there or does not hold this version's kernel.
    ModelError
        If the model does not fit the kernel's compiled maxima.
    """

    def __init__(
        self,
        model: FixedPointModel,
        *,
        xclbin: Path | str | None = None,
        device: int | str = 0,
        wait: Wait = "spin",
        timeout: float = 1.0,
        batch: int = 64,
        launch: Launch = "per-trial",
        hop: int | None = None,
    ) -> None:
        required(model.fixed)  # before a card is asked for anything
        if not (timeout > 0 and math.isfinite(timeout)) or batch < 1:
            raise EngineError(
                f"timeout must be above 0 and batch at least 1, got {timeout} and {batch}"
            )
        if launch not in ("per-trial", "persistent"):
            raise EngineError(f"launch is 'per-trial' or 'persistent', got {launch!r}")
        card = Card(xclbin, device, timeout=timeout, wait=wait)
        self._card: Card | None = card
        self._loaded: LoadedModel | ServedModel | None = None
        self._batch, self._hop, self.launch = batch, hop, launch
        if launch == "persistent" and card.serves_not:
            _log.warning("the kernel is started for each window: %s", card.serves_not)
            self.launch = "per-trial"
        try:
            self.load(model)
        except BaseException:
            self.close()
            raise

    def load(self, model: FixedPointModel) -> None:
        """Put another model in the place of the one on the card; the bitstream stays.

        Raises
        ------
        ModelError
            If it does not fit the kernel; the old one then stays.
        EngineError
            If the engine is closed, or the kernel refuses the model.
        """
        card, spec, fixed = self.card, model.spec, required(model.fixed)
        card.facts.check(spec, IMAGE_VERSION)
        image = pack_image(spec, fixed)
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None
        if self.launch == "persistent":
            self._loaded = ServedModel(card, image, hop=self._hop)
        else:
            self._loaded = LoadedModel(card, image, batch=self._batch)
        self._factor_scale = np.float32(math.ldexp(1.0, -fixed.factor_point))
        self._rate_scale = np.float32(math.ldexp(1.0, -fixed.log_rate_point))
        self._info = EngineInfo(
            name="fpga",
            device=f"{card.name} {card.bdf} (xclbin {card.uuid[:8]}, {self.launch})",
            numeric_format="int16",
            model_hash=model.hash,
            n_bins=spec.n_bins,
            n_bins_out=spec.n_bins_out,
            n_units=spec.n_units,
            n_factors=spec.n_factors,
        )

    @property
    def info(self) -> EngineInfo:
        """Sizes, device and model hash."""
        return self._info

    @property
    def loaded(self) -> LoadedModel | ServedModel:
        """The model on the card.

        Raises
        ------
        EngineError
            If the engine is closed.
        """
        if self._loaded is None:
            raise EngineError("the fpga engine is closed; open a new one")
        return self._loaded

    @property
    def card(self) -> Card:
        """The card.

        Raises
        ------
        EngineError
            If the engine is closed.
        """
        if self._card is None:
            raise EngineError("the fpga engine is closed; open a new one")
        return self._card

    def infer(self, counts: NDArray[np.uint8], out: Latents | None = None) -> Latents:
        """Infer one window.

        Parameters
        ----------
        counts
            Spike counts, uint8, shape ``(n_bins, n_units)``.
        out
            Buffers to write to and return, as `bci_lfads.engines.base.allocate` makes them;
            with them the call allocates nothing.

        Raises
        ------
        CardTimeoutError, CardLostError
            If the card did not answer; the engine takes no more work then.
        EngineError
            If the engine is closed, or an array has another shape, type or layout.
        """
        loaded = self.loaded
        check_counts(self._info, counts)
        if out is None:
            out = allocate(self._info)
        else:
            check_out(self._info, out)
        loaded.one(counts, out.log_rates is not None)
        _to_float(loaded.factors, self._factor_scale, out.factors)
        if out.log_rates is not None:
            _to_float(loaded.log_rates, self._rate_scale, out.log_rates)
        return out

    def infer_batch(self, counts: NDArray[np.uint8], *, log_rates: bool = True) -> Latents:
        """Infer many windows: batches travel to the card while it computes others.

        Parameters
        ----------
        counts
            Spike counts, uint8, shape ``(n_trials, n_bins, n_units)``.
        log_rates
            Whether to compute log-rates beside the factors.

        Returns
        -------
        Latents
            With a first axis of ``n_trials``.

        Raises
        ------
        CardTimeoutError, CardLostError, EngineError
            As `infer`.
        """
        loaded, info = self.loaded, self._info
        check_counts(info, counts, batch=True)
        lead = (len(counts), info.n_bins_out)
        factors = np.empty((*lead, info.n_factors), np.float32)
        rates = np.empty((*lead, info.n_units), np.float32) if log_rates else None

        def take(
            first: int, last: int, some: NDArray[np.int32], some_rates: NDArray[np.int32] | None
        ) -> None:
            _to_float(some, self._factor_scale, factors[first:last])
            if rates is not None and some_rates is not None:
                _to_float(some_rates, self._rate_scale, rates[first:last])

        loaded.many(counts, log_rates, take)
        return Latents(factors, rates)

    def close(self) -> None:
        """Give the card back. Further calls raise `EngineError`."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()
        card, self._card = self._card, None
        if card is not None:
            card.close()

    def __enter__(self) -> FpgaEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _to_float(integers: NDArray[np.int32], scale: np.float32, out: NDArray[np.float32]) -> None:
    """Write what the kernel's integers stand for; 24 bits are exact as float32."""
    np.copyto(out, integers, casting="unsafe")
    np.multiply(out, scale, out=out)
