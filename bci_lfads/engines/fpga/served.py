"""A model on a card whose kernel was started once: windows and results by a mailbox.

The mailbox lies in this host's memory, where the kernel looks for work by itself: no call of the
runtime is between a window and its factors. `Mailbox` (``_mailbox``) writes and reads it;
fpga/include/lfads_mailbox.h has its layout, docs/fpga.md the protocol.
"""

from __future__ import annotations

import logging
import secrets
import time
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.fpga.card import Card
from bci_lfads.engines.fpga.failures import FALLBACK_ADVICE
from bci_lfads.engines.fpga.lane import Lane, keep_for_good
from bci_lfads.engines.fpga.loaded import Integers, Sizes, Take
from bci_lfads.engines.fpga.protocol import Argument, Status, in_words
from bci_lfads.errors import CardError, CardLostError, CardTimeoutError, EngineError
from bci_lfads.models.image import CHECKSUM_WORD

_log = logging.getLogger(__name__)

BEAT = 1000
"""Looks of the kernel from one beat to the next. A look across PCIe takes in the order of 1 µs."""
IDLE = 1 << 26
"""Looks without a request after which the kernel ends by itself, lest it outlive its host: about
a minute or two. The next window starts it again."""
_SPIN = 250e-6
"""Seconds of looking without a break; longer than a window takes."""
_PAGE = 4096


class Outcome(IntEnum):
    """What `Mailbox.wait` returns."""

    ANSWERED = 0
    LATE = 1
    SILENT = 2
    ENDED = 3
    TORN = 4


class ServedModel:
    """A kernel image loaded on a card whose kernel then serves a mailbox, until `close`.

    Parameters
    ----------
    card
        An opened card that `serves`. Nothing else can be asked of it meanwhile.
    image
        As `bci_lfads.models.image.pack_image` makes it.
    hop
        Bins by which the windows of `one` move on, if they do: the card keeps what a window
        shares with the last one, and only the new bins are sent.
    idle
        Looks without a request after which the kernel ends, to be started again when needed.

    Attributes
    ----------
    sizes
        Of the model.
    factors, log_rates
        Integers of the newest window of `one`: int32, shapes ``(n_bins_out, n_factors)`` and
        ``(n_bins_out, n_units)``.
    starts
        How often the kernel was started.

    Raises
    ------
    CardLostError, CardTimeoutError
        If the kernel does not begin to serve.
    EngineError
        If it refuses the image or the mailbox.
    """

    def __init__(
        self, card: Card, image: NDArray[np.uint32], *, hop: int | None = None, idle: int = IDLE
    ) -> None:
        from bci_lfads.engines.fpga._mailbox import Mailbox

        self._card, self._idle, self.starts = card, idle, 0
        self.sizes = sizes = Sizes.of(image)
        self.factors: Integers = np.zeros((sizes.n_bins_out, sizes.n_factors), np.int32)
        self.log_rates: Integers = np.zeros((sizes.n_bins_out, sizes.n_units), np.int32)
        self._lane = Lane(card, image_words=len(image), counts_size=1, factors_size=1, rates_size=1)
        self._bo: Any = None
        try:
            self._lane.load(image)
            size = Mailbox.size(*self.sizes)
            self._bo = card.attempt("making the mailbox", lambda: self._allocate(size))
            memory = np.frombuffer(self._bo.map(), np.uint8, size)
            self._mailbox = Mailbox(memory, *self.sizes, int(image[CHECKSUM_WORD]), hop or 0)
            self._start()
        except BaseException:
            self.close()
            raise

    def _allocate(self, size: int) -> Any:
        pyxrt, card = self._card.pyxrt, self._card
        pages = -(-size // _PAGE) * _PAGE
        return pyxrt.bo(card.device, pages, pyxrt.bo.host_only, card.groups[Argument.MAILBOX])

    def _start(self) -> None:
        """Start the kernel and wait until it says that it serves."""
        mailbox = self._mailbox
        mailbox.begin(epoch=secrets.randbelow((1 << 32) - 1) + 1, beat=BEAT, idle=self._idle)
        self._lane.serve(self._bo)
        self.starts += 1
        until = time.perf_counter() + self._card.timeout
        while not mailbox.serving:
            if mailbox.ended:
                if mailbox.reason == Status.IDLE:  # so soon: a test's
                    return
                self._card.fail(CardLostError(self._ended_words()))
            if time.perf_counter() > until:
                self._card.fail(
                    CardLostError(
                        f"the kernel was started and did not begin to serve within "
                        f"{self._card.timeout:g} s: it gives no sign of life. Is the shell's "
                        f"host-memory access on ('xbutil examine', 'xbutil configure --host-mem')?"
                        f" launch = 'per-trial' does without; {FALLBACK_ADVICE}"
                    )
                )
            time.sleep(20e-6)

    @property
    def cycles(self) -> int:
        """The kernel's own cycles for the newest window; 0 where it has no clock."""
        return self._mailbox.cycles

    @property
    def beat(self) -> int:
        """Number of the card's newest beat."""
        return self._mailbox.beat

    def one(self, counts: NDArray[np.uint8], log_rates: bool) -> None:
        """Infer one window; `factors` and, if asked for, `log_rates` then hold its integers.

        Parameters
        ----------
        counts
            Shape ``(n_bins, n_units)``.
        log_rates
            Whether to have log-rates too.

        Raises
        ------
        CardTimeoutError
            If the kernel beats but does not answer.
        CardLostError
            If its heartbeat stopped, it ended, or it answers what is not whole. The card takes no
            more work after either.
        EngineError
            If the kernel answers that it refuses.
        """
        self.post(counts, log_rates)
        self.wait()
        if self._mailbox.status == Status.WINDOW:  # its window went with a run that ended
            self._mailbox.take(None, None)
            self.post(counts, log_rates, whole=True)
            self.wait()
        self.take(log_rates)

    # The steps of `one`: a benchmark times them.

    def post(self, counts: NDArray[np.uint8], log_rates: bool, whole: bool = False) -> None:
        """Post a window."""
        self._card.check_alive()
        self._mailbox.post(np.ascontiguousarray(counts), log_rates, whole)

    def wait(self) -> None:
        """Wait for the oldest window that was not taken."""
        card, mailbox = self._card, self._mailbox
        spin = _SPIN if card.wait == "spin" else 0.0
        while True:
            outcome = mailbox.wait(card.timeout, spin)
            if outcome == Outcome.ANSWERED:
                return
            if outcome == Outcome.ENDED and mailbox.reason == Status.IDLE:
                self._lane.served()
                _log.info("the kernel had ended after long idleness; it is started again")
                self._start()
                continue
            card.fail(self._failure(outcome))

    def take(self, log_rates: bool) -> None:
        """Take the results that `wait` has found.

        Raises
        ------
        EngineError
            If they are a refusal.
        """
        mailbox = self._mailbox
        if mailbox.status != Status.OK:
            mailbox.take(None, None)
            raise EngineError(in_words(mailbox.status))
        mailbox.take(self.factors, self.log_rates if log_rates else None)

    def many(self, counts: NDArray[np.uint8], log_rates: bool, take: Take) -> None:
        """Infer many windows: the next lies ready while the kernel works on one.

        Parameters
        ----------
        counts
            Shape ``(n_trials, n_bins, n_units)``.
        log_rates
            Whether to have log-rates too.
        take
            As `LoadedModel.many` calls it, window by window.
        """
        rates = self.log_rates[None] if log_rates else None
        posted = 0
        for row in range(len(counts)):
            while posted < len(counts) and self._mailbox.room:
                self.post(counts[posted], log_rates, whole=True)
                posted += 1
            self.wait()
            self.take(log_rates)
            take(row, row + 1, self.factors[None], rates)

    def _failure(self, outcome: int) -> CardError:
        seconds = f"{self._card.timeout:g} s"
        if outcome == Outcome.LATE:
            return CardTimeoutError(
                f"the kernel beats but did not answer within {seconds}: see 'xbutil examine' and "
                f"'dmesg', then 'xbutil reset'; {FALLBACK_ADVICE}"
            )
        if outcome == Outcome.SILENT:
            return CardLostError(
                f"the kernel's heartbeat stopped: neither an answer nor a beat within {seconds}; "
                f"the card was reset or hangs: see 'xbutil examine' and 'dmesg'; {FALLBACK_ADVICE}"
            )
        if outcome == Outcome.ENDED:
            return CardLostError(self._ended_words())
        return CardLostError(
            f"results arrived damaged, and stayed so for {seconds}: their checksum is wrong; see "
            f"'dmesg' for failed transfers; {FALLBACK_ADVICE}"
        )

    def _ended_words(self) -> str:
        return (
            f"the kernel stopped serving ({in_words(self._mailbox.reason)}); has another program "
            f"loaded a model of its own? {FALLBACK_ADVICE}"
        )

    def close(self) -> None:
        """Stop the kernel and give the buffers back; the card stays open."""
        if self.starts and not self._card.failed:
            self._mailbox.stop()
            try:
                self._lane.served()
            except CardError as error:
                _log.warning("the kernel did not stop: %s", error)
        if self._card.failed:  # it may still write there
            keep_for_good(self._bo)
        for name in ("_mailbox", "_bo"):
            vars(self).pop(name, None)
        self._lane.close()
