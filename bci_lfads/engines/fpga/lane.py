"""One run of the kernel with its buffers: made once, used for every call.

A batch uses two of them, so that one window's counts travel to the card while the kernel works on
another's. The three outputs lie in one parent buffer, when the xclbin puts them in one memory
group, so that a single transfer brings all back.
"""

from __future__ import annotations

import ctypes
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bci_lfads.engines.fpga.failures import RUNTIME_ERRORS, card_error, ended_badly, timed_out
from bci_lfads.engines.fpga.protocol import (
    ANSWER_WORDS,
    Answer,
    Argument,
    Command,
    Status,
    in_words,
)
from bci_lfads.errors import CardLostError, EngineError

if TYPE_CHECKING:
    from bci_lfads.engines.fpga.card import Card

Wait = Literal["spin", "block"]

_PAGE = 4096
_SEQUENCES = (1 << 31) - 1
"""pyxrt takes scalars as signed integers of 32 bits."""
_SPIN = 250e-6
"""Seconds of looking without a break; longer than a run takes."""


class Lane:
    """A reused run and its preallocated, mapped buffers.

    Parameters
    ----------
    card
        The card; its `wait` says how `finish` waits: ``spin`` looks at the run's state without a
        break for 250 µs, then lets other threads have their turns between looks; ``block`` sleeps
        in the runtime until the card's interrupt, which takes longer and holds Python's lock.
    image_words
        Room for a kernel image.
    counts_size, factors_size, rates_size
        Values that the buffers hold: bytes, int32, int32.

    Attributes
    ----------
    image, counts, factors, log_rates, answer
        The mapped buffers: uint32, uint8, int32, int32, uint32, one-dimensional. Counts are zero
        at first, so that rows may be padded.
    """

    def __init__(
        self, card: Card, *, image_words: int, counts_size: int, factors_size: int, rates_size: int
    ) -> None:
        self._card = card
        sync = card.pyxrt.xclBOSyncDirection
        self._to, self._from = sync.XCL_BO_SYNC_BO_TO_DEVICE, sync.XCL_BO_SYNC_BO_FROM_DEVICE
        states = card.pyxrt.ert_cmd_state
        self._completed = states.ERT_CMD_STATE_COMPLETED
        self._failed = (
            states.ERT_CMD_STATE_ERROR, states.ERT_CMD_STATE_ABORT,
            states.ERT_CMD_STATE_NORESPONSE, states.ERT_CMD_STATE_TIMEOUT,
        )  # fmt: skip
        self._sizes = (ANSWER_WORDS, factors_size, rates_size)
        card.attempt("making buffers", lambda: self._allocate(image_words, counts_size))
        self._command: int | None = None
        self._n_trials: int | None = None
        self._sequence = 0

    def _allocate(self, image_words: int, counts_size: int) -> None:
        card, pyxrt = self._card, self._card.pyxrt
        groups = card.groups

        def buffer(size: int, argument: Argument) -> Any:
            return pyxrt.bo(card.device, _pages(size), pyxrt.bo.normal, groups[argument])

        self._image_bo = buffer(4 * image_words, Argument.IMAGE)
        self._counts_bo = buffer(counts_size, Argument.COUNTS)
        outputs = (Argument.ANSWER, Argument.FACTORS, Argument.LOG_RATES)
        sizes = [_pages(4 * n) for n in self._sizes]
        ends = np.cumsum([0, *sizes]).tolist()
        if len({groups[a] for a in outputs}) == 1:
            parent = buffer(ends[-1], Argument.ANSWER)
            bos = [pyxrt.bo(parent, s, at) for s, at in zip(sizes, ends, strict=False)]
            self._outputs = [parent]
        else:
            bos = [buffer(s, a) for s, a in zip(sizes, outputs, strict=True)]
            self._outputs = bos
        self._ends, self._bos = ends, bos

        self.image = np.frombuffer(self._image_bo.map(), np.uint32, image_words)
        self.counts = np.frombuffer(self._counts_bo.map(), np.uint8, counts_size)
        views = [memoryview(bo.map()) for bo in bos]
        self.answer = np.frombuffer(views[0], np.uint32, ANSWER_WORDS)
        self.counts[:] = 0
        self.factors = np.frombuffer(views[1], np.int32, self._sizes[1])
        self.log_rates = np.frombuffer(views[2], np.int32, self._sizes[2])

        self._run = pyxrt.run(card.kernel)
        buffers = (self._image_bo, self._counts_bo, bos[1], bos[2], bos[0])
        for argument, bo in zip(
            (Argument.IMAGE, Argument.COUNTS, *outputs[1:], Argument.ANSWER), buffers, strict=True
        ):
            self._run.set_arg(int(argument), bo)
        self._run.set_arg(int(Argument.IMAGE_WORDS), 0)

    def serve(self, mailbox: Any) -> None:
        """Start the run that serves a mailbox, a buffer in this host's memory."""
        self._card.check_alive()
        self._card.attempt(
            "starting the kernel", lambda: self._run.set_arg(int(Argument.MAILBOX), mailbox)
        )
        self.launch(Command.SERVE, 0)

    def served(self) -> int:
        """Wait until a run that served has ended, and return why."""
        self.wait()
        self.fetch(0, 0)
        return self._status()

    def ask(self, command: Command) -> NDArray[np.uint32]:
        """Have a command without windows done and return a copy of the answer."""
        self.start(command, 0, 0)
        self.finish(0, 0)
        return np.array(self.answer, np.uint32)

    def load(self, image: NDArray[np.uint32]) -> None:
        """Load a model; the kernel keeps it for every run on the card.

        Raises
        ------
        EngineError
            If the kernel refuses it.
        """
        self.image[:] = image
        self._sync("sending the model", self._image_bo, self._to, image.nbytes)
        self._card.attempt(
            "loading the model", lambda: self._run.set_arg(int(Argument.IMAGE_WORDS), len(image))
        )
        self.start(Command.LOAD, 0, 0)
        self.finish(0, 0)

    def start(self, command: Command, n_trials: int, n_counts: int) -> None:
        """Send the first `n_counts` of `counts` and start the run; it is not waited for."""
        self._card.check_alive()
        if n_counts:
            self.send(n_counts)
        self.launch(command, n_trials)

    def finish(self, n_factors: int, n_rates: int) -> None:
        """Wait for the run and bring the first `n_factors` and `n_rates` values back.

        Raises
        ------
        CardTimeoutError, CardLostError
            If it does not end, or badly. The card then takes no more work until it is opened anew.
        EngineError
            If the kernel answers that it refuses.
        """
        self.wait()
        self.fetch(n_factors, n_rates)
        self.check()

    # The steps of `start` and `finish`, one by one: a benchmark times them.

    def send(self, n_counts: int) -> None:
        """Bring the first `n_counts` of `counts` to the card."""
        self._sync("sending counts", self._counts_bo, self._to, n_counts)

    def launch(self, command: Command, n_trials: int) -> None:
        """Set what changed of the scalars and start the run."""
        self._sequence = self._sequence % _SEQUENCES + 1
        try:
            if command != self._command:
                self._run.set_arg(int(Argument.COMMAND), int(command))
                self._command = command
            if n_trials != self._n_trials:
                self._run.set_arg(int(Argument.N_TRIALS), n_trials)
                self._n_trials = n_trials
            self._run.set_arg(int(Argument.SEQUENCE), self._sequence)
            self._run.start()
        except RUNTIME_ERRORS as error:
            self._card.fail(card_error("starting the kernel", error))

    def fetch(self, n_factors: int, n_rates: int) -> None:
        """Bring the answer, `n_factors` and `n_rates` values back from the card."""
        if len(self._outputs) == 1:
            used = self._ends[2] + 4 * n_rates if n_rates else self._ends[1] + 4 * n_factors
            self._sync("bringing results back", self._outputs[0], self._from, used)
            return
        for bo, used in zip(self._outputs, (ANSWER_WORDS, n_factors, n_rates), strict=True):
            if used:
                self._sync("bringing results back", bo, self._from, 4 * used)

    def check(self) -> None:
        """Refuse an answer that is not this run's, or not well."""
        status = self._status()
        if status != Status.OK:
            raise EngineError(in_words(status))

    def _status(self) -> int:
        sequence = int(self.answer[Answer.SEQUENCE])
        if sequence != self._sequence:
            self._card.fail(
                CardLostError(
                    f"the kernel ended without an answer: what lies in its place is number "
                    f"{sequence}, not {self._sequence}; see 'dmesg' for failed transfers"
                )
            )
        return int(self.answer[Answer.STATUS])

    def wait(self) -> None:
        """Wait until the run has ended well."""
        timeout = self._card.timeout
        try:
            if self._card.wait == "block":
                state = self._run.wait(max(1, round(1e3 * timeout)))
            else:
                state = self._spin(timeout)
        except RUNTIME_ERRORS as error:
            self._card.fail(card_error("waiting for the kernel", error))
        if state == self._completed:
            return
        if state in self._failed and state != self._failed[-1]:
            self._card.fail(ended_badly("the kernel", state))
        self._card.fail(timed_out("the kernel", timeout, state))

    def _spin(self, timeout: float) -> Any:
        clock, state_of = time.perf_counter, self._run.state
        began = clock()
        while True:
            state = state_of()
            if state == self._completed or state in self._failed:
                return state
            waited = clock() - began
            if waited > timeout:
                return state
            if waited > _SPIN:
                time.sleep(0)

    def _sync(self, doing: str, bo: Any, direction: Any, size: int) -> None:
        try:
            bo.sync(direction, size, 0)
        except RUNTIME_ERRORS as error:
            self._card.fail(card_error(doing, error))

    def close(self) -> None:
        """Let the run go, then the views, then the buffers.

        A run that never ended may still write to its buffers, and the runtime crashes when it ends
        after they are gone: those of a failed card are kept until the process ends.
        """
        if self._card.failed:
            keep_for_good(self._run, self._bos, self._outputs, self._image_bo, self._counts_bo)
        for name in (
            "_run", "image", "counts", "factors", "log_rates", "answer",
            "_bos", "_outputs", "_image_bo", "_counts_bo",
        ):  # fmt: skip
            vars(self).pop(name, None)

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def keep_for_good(*objects: object) -> None:
    """Keep objects until the process ends, whoever lets go of them."""
    for each in objects:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


def _pages(size: int) -> int:
    """Return a size in bytes rounded up to whole pages, at least one."""
    return max(1, -(-size // _PAGE)) * _PAGE
