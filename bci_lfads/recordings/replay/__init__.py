"""Any recording on LSL with its original timing."""

from bci_lfads.recordings.replay.control import ReplayControl
from bci_lfads.recordings.replay.lateness import Lateness, PushLog
from bci_lfads.recordings.replay.live import replay, replay_blocks
from bci_lfads.recordings.replay.replayer import Replayer, ReplayProgress, ReplayReport
from bci_lfads.recordings.replay.schedule import Format

__all__ = [
    "Format",
    "Lateness",
    "PushLog",
    "ReplayControl",
    "ReplayProgress",
    "ReplayReport",
    "Replayer",
    "replay",
    "replay_blocks",
]
