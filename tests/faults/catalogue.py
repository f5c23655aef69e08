"""The faults that are injected, and what is promised for each."""

from typing import NamedTuple


class Fault(NamedTuple):
    """A fault: its name in marks, what happens, and what the loop promises then."""

    name: str
    what: str
    promise: str


FAULTS = [
    Fault("source-killed", "spike source killed or stopped, and started again",
          "waits with the reason, counts the loss, reads on; no trial with a hole is published"),
    Fault("source-changed", "source comes back with other channels or in another format",
          "refused with what is missing, or read right; the loop goes on with the next that fits"),
    Fault("source-silent", "source connected, but nothing comes",
          "degraded (`source_silent`) after `silence` seconds; windows of silence go on"),
    Fault("stall", "network or source stalls, and all comes at once afterwards",
          "windows close on time; what came too late is counted; degraded (`spikes_lost`)"),
    Fault("network", "network delays by tens of milliseconds, loses datagrams, stalls, is cut",
          "within the hold-off nothing is lost; later is counted; cut, the source is waited for"),
    Fault("clock-jump", "source's clock jumps forward or back",
          "spikes ahead or late are counted; windows close by the loop's own clock"),
    Fault("clock-drift", "source's clock drifts by 100 ppm", "corrected; no spike is lost"),
    Fault("burst", "bursts of 50 times the rate",
          "every spike is in its bin or counted as saturated; memory is bounded"),
    Fault("duplicates", "chunks duplicated and reordered",
          "each spike counts as often as it came, wherever in the order; disorder is counted"),
    Fault("bad-values", "NaN, infinite, negative and huge counts, ids and stamps",
          "counted as invalid or saturated; nothing else changes"),
    Fault("unknown-channels", "spikes of channels that the model does not have",
          "counted as unknown; nothing else changes"),
    Fault("wrong-type", "text in a numeric stream, and streams that carry no spikes or markers",
          "refused with what is accepted"),
    Fault("markers", "markers out of order, missing, repeated, late, without a time",
          "counted; each trial is given once, or counted as dropped, aborted or unaligned"),
    Fault("too-long", "windows or trials beyond the maximum of the kernel, markers beyond memory",
          "refused at the door, or dropped and counted; memory is bounded"),
    Fault("model-file", "model file corrupt, truncated, foreign or hostile",
          "refused with the reason; nothing in it is executed"),
    Fault("xclbin", "xclbin of another model size", "refused at the door"),
    Fault("card-fails",
          "card lost, hanging, reset or busy (a runtime in Python, an emulated card; no hardware)",
          "with `fallback = \"native\"` that engine serves from the same window on, with the same "
          "numbers; degraded (`engine_replaced`) to the end; without it, as an engine that fails"),
    Fault("engine-slow", "engine slower than real time",
          "the oldest windows are dropped and counted; spikes go on; degraded (`engine_slow`)"),
    Fault("engine-raises", "engine fails in a window, or breaks",
          "the window is counted as lost and the loop goes on; a defect stops it with its reason"),
    Fault("engine-hangs", "engine does not come back",
          "degraded (`engine_hangs`) on Status all the while; asked to stop, the process ends with "
          "status 3"),
    Fault("disk-full", "disk full while recording",
          "the recording ends with its reason; the loop goes on, degraded (`not_recorded`)"),
    Fault("signals", "SIGINT, SIGTERM or SIGKILL to the loop",
          "INT and TERM: what was closed is published, the last word is `stopped`, status 0. KILL: "
          "a new run begins as if nothing had been; what was recorded is readable"),
    Fault("gui-killed", "window killed or closed", "the loop goes on; no process is left over"),
    Fault("consumer-stuck", "consumer that connects and never reads",
          "the loop goes on; memory is bounded; the consumer alone loses samples"),
    Fault("fuzz", "bytes of any kind to each parser of a file or stream",
          "read, or refused with a reason, in bounded time and memory"),
    Fault("load", "1,024 units at 50 Hz in a sliding window, two minutes",
          "no spike, bin or window is lost; memory stays within 1 %"),
]  # fmt: skip
