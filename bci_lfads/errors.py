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


class StreamError(BciLfadsError):
    """An LSL stream is missing or is not what the rig declares."""


class RigError(BciLfadsError):
    """A rig file is wrong."""
