"""The errors this package raises on purpose.

Every message names what was wrong, what was found and what to do about it.
"""


class BciLfadsError(Exception):
    """Base of all errors that a user can act on."""


class RecordingError(BciLfadsError):
    """A recording cannot be read, written or used."""


class ModelError(BciLfadsError):
    """A model file or checkpoint cannot be read, or does not fit its use."""


class EngineError(BciLfadsError):
    """An engine cannot be opened or failed to infer."""


class XclbinError(EngineError):
    """An xclbin is not there, or its kernel is not the one that this version drives."""


class CardError(EngineError):
    """The card, or the way to it, failed: another engine can do the work."""


class CardMissingError(CardError):
    """There is no Xilinx Runtime, or no such card."""


class CardBusyError(CardError):
    """Another process has the card."""


class CardTimeoutError(CardError):
    """The card did not answer in time."""


class CardLostError(CardError):
    """The card was reset or unplugged, or its kernel failed."""


class StreamError(BciLfadsError):
    """An LSL stream is missing or is not what the rig declares."""


class RigError(BciLfadsError):
    """A rig file is wrong."""


class DecoderError(BciLfadsError):
    """A decoder cannot be fitted, read or used."""


class TriggerError(BciLfadsError):
    """Rules of triggers are wrong, or an order cannot be followed."""
