"""Receives a stream by ezmsg-lsl's unit in a running graph, as a pipeline of ezmsg would.

python ezmsg_unit_reader.py NAME N: says "ready", prints JSON of N samples.
"""

import json
import sys
from typing import Any

import ezmsg.core as ez
import pylsl
from ezmsg.lsl.inlet import LSLInfo, LSLInletSettings, LSLInletUnit
from ezmsg.util.messages.axisarray import AxisArray


class CollectSettings(ez.Settings):
    n: int


class CollectState(ez.State):
    samples: list[Any]
    stamps: list[float]


class Collect(ez.Unit):
    SETTINGS = CollectSettings
    STATE = CollectState
    INPUT = ez.InputStream(AxisArray)

    async def initialize(self) -> None:
        self.STATE.samples, self.STATE.stamps = [], []

    @ez.subscriber(INPUT)
    async def take(self, message: AxisArray) -> None:
        self.STATE.samples += message.data.tolist()
        axis = message.axes["time"]
        self.STATE.stamps += [float(axis.value(i)) for i in range(len(message.data))]
        if len(self.STATE.samples) >= self.SETTINGS.n:
            found = {"samples": self.STATE.samples, "stamps": self.STATE.stamps}
            sys.stdout.write(f"\n{json.dumps(found)}\n")  # on a line of its own
            sys.stdout.flush()
            raise ez.NormalTermination


def main(name: str, n: int) -> None:
    inlet = LSLInletUnit(
        LSLInletSettings(
            info=LSLInfo(name=name), use_lsl_clock=True, processing_flags=pylsl.proc_none
        )
    )
    collect = Collect(CollectSettings(n=n))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    ez.run(
        components={"INLET": inlet, "COLLECT": collect},
        connections=((inlet.OUTPUT_SIGNAL, collect.INPUT),),
        force_single_process=True,
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
