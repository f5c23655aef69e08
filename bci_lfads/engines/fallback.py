"""A card with a stand-in: when it fails, the native engine goes on with the same numbers.

Never silently: `FallbackEngine.notice` says what happened, and a run publishes it on Status.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.base import Engine, EngineInfo, Latents
from bci_lfads.errors import CardError

_log = logging.getLogger(__name__)


class FallbackEngine:
    """An engine that may fail, and one beside it that takes over for good.

    The stand-in is opened first, so that taking over costs a call and no time to set up. It takes
    over after a `CardError` only: an xclbin or a model that does not fit is a mistake to mend.

    Parameters
    ----------
    open_first
        Opens the engine to use.
    stand_in
        What takes over. Both are closed with this engine.

    Attributes
    ----------
    notice
        Empty while the first engine serves; then what happened and who serves now.
    """

    def __init__(self, open_first: Callable[[], Engine], stand_in: Engine) -> None:
        self._stand_in, self.notice = stand_in, ""
        self._first: Engine | None = None
        self._active: Engine = stand_in
        try:
            self._first = self._active = open_first()
        except CardError as error:
            self._take_over(error)
        except BaseException:
            stand_in.close()
            raise

    @property
    def info(self) -> EngineInfo:
        """Of the engine that serves now."""
        return self._active.info

    def infer(self, counts: NDArray[np.uint8], out: Latents | None = None) -> Latents:
        """Infer one window, with the stand-in if the card fails in it; see `Engine.infer`."""
        try:
            return self._active.infer(counts, out)
        except CardError as error:
            self._take_over(error)
            return self._stand_in.infer(counts, out)

    def infer_batch(self, counts: NDArray[np.uint8], *, log_rates: bool = True) -> Latents:
        """Infer many windows, all anew if the card fails in them; see `Engine.infer_batch`."""
        try:
            return self._active.infer_batch(counts, log_rates=log_rates)
        except CardError as error:
            self._take_over(error)
            return self._stand_in.infer_batch(counts, log_rates=log_rates)

    def _take_over(self, error: CardError) -> None:
        # The failed engine is closed at the end: letting go of a card that hangs may take long.
        self._active = self._stand_in
        name = self._stand_in.info.name
        self.notice = f"the {name} engine computes the same numbers instead of the card: {error}"
        _log.error("%s", self.notice)

    def close(self) -> None:
        """Close both engines."""
        self._stand_in.close()
        if self._first is not None:
            self._first.close()

    def __enter__(self) -> FallbackEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
