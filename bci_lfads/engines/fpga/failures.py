"""What the runtime's exceptions and states mean.

pyxrt raises RuntimeError with the words of the C library's errno behind its own (its other types,
IndexError and TypeError, come from wrong calls), so the words are all there is to go by.
"""

from __future__ import annotations

import errno
import os

from bci_lfads.errors import (
    CardBusyError,
    CardError,
    CardLostError,
    CardMissingError,
    CardTimeoutError,
)

RUNTIME_ERRORS = (RuntimeError, IndexError, TypeError, ValueError, OSError, AttributeError)
"""All that pyxrt is known to raise."""

FALLBACK_ADVICE = (
    "fallback = 'native' in [fpga] of the rig file goes on with the same numbers on this CPU"
)

_KINDS: tuple[tuple[type[CardError], tuple[int, ...], tuple[str, ...], str], ...] = (
    (
        CardBusyError,
        (errno.EBUSY, errno.EAGAIN),
        ("in use", "busy", "locked by"),
        "another process has it: end that, or see 'xbutil examine'",
    ),
    (
        CardTimeoutError,
        (errno.ETIME, errno.ETIMEDOUT),
        ("timed out", "timeout"),
        "see 'xbutil examine' and 'dmesg', then 'xbutil reset'",
    ),
    (
        CardLostError,
        (errno.EIO, errno.ESHUTDOWN, errno.EREMOTEIO, errno.EFAULT),
        ("reset", "offline", "aborted"),
        "it was reset or failed: see 'xbutil examine' and 'dmesg', then start again",
    ),
    (
        CardMissingError,
        (errno.ENODEV, errno.ENXIO, errno.ENOENT),
        ("could not open device", "invalid device string", "xilinx_xrt not set"),
        "see what 'xbutil examine' lists, whether the card's shell is loaded, and whether "
        "'source /opt/xilinx/xrt/setup.sh' was run in this shell",
    ),
)


def card_error(doing: str, error: BaseException) -> CardError:
    """Return the error to raise for an exception of the runtime.

    Parameters
    ----------
    doing
        What was tried, e.g. ``"opening card 0"``.
    error
        What the runtime raised.
    """
    words = str(error)
    low = words.lower()
    code = getattr(error, "errno", None)
    for kind, codes, phrases, advice in _KINDS:
        said = any(os.strerror(c).lower() in low for c in codes)
        if code in codes or said or any(phrase in low for phrase in phrases):
            return kind(f"{doing} failed ({words}): {advice}; {FALLBACK_ADVICE}")
    return CardLostError(
        f"{doing} failed ({words}): see 'xbutil examine' and 'dmesg'; {FALLBACK_ADVICE}"
    )


def timed_out(doing: str, seconds: float, state: object) -> CardTimeoutError:
    """Return the error for a run that did not end in time."""
    return CardTimeoutError(
        f"{doing} did not end within {seconds:g} s (its state is {state_name(state)}): see "
        f"'xbutil examine' and 'dmesg', then 'xbutil reset'; {FALLBACK_ADVICE}"
    )


def ended_badly(doing: str, state: object) -> CardLostError:
    """Return the error for a run that ended in another state than completed."""
    return CardLostError(
        f"{doing} ended as {state_name(state)}, not completed: the card was reset or its kernel "
        f"failed; see 'xbutil examine' and 'dmesg'; {FALLBACK_ADVICE}"
    )


def state_name(state: object) -> str:
    """Return a run's state in words, whatever pyxrt's build calls it."""
    text = getattr(state, "name", None) or str(state)
    return text.rpartition(".")[2].removeprefix("ERT_CMD_STATE_").lower()
