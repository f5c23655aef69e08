"""A decoder of one's own as a unit of ezmsg: python decoder_ezmsg.py RIG DECODER.safetensors."""

import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import ezmsg.core as ez
import numpy as np
import pylsl
from ezmsg.lsl.inlet import LSLInfo, LSLInletSettings, LSLInletUnit
from ezmsg.lsl.outlet import LSLOutletSettings, LSLOutletUnit
from ezmsg.util.messages.axisarray import AxisArray
from safetensors.numpy import load_file


class Settings(ez.Settings):
    """What the unit needs to know."""

    file: str


class Decode(ez.Unit):
    """Factors in, behaviour out, with a stamp for each sample.

    Of a message that has a regular time axis ezmsg-lsl stamps the last sample with the end of its
    bin, a bin late; so the axis lists the stamps.
    """

    SETTINGS = Settings
    INPUT = ez.InputStream(AxisArray)
    OUTPUT = ez.OutputStream(AxisArray)

    async def initialize(self) -> None:
        """Read the decoder as `decode fit --method ridge` writes it."""
        self.decoder = load_file(self.SETTINGS.file)

    @ez.subscriber(INPUT)
    @ez.publisher(OUTPUT)
    async def decode(self, message: AxisArray) -> AsyncGenerator[Any, None]:
        """Decode a message."""
        data = message.data @ self.decoder["weights"].T + self.decoder["offset"]
        stamps = message.axes["time"].value(np.arange(len(data)))
        axes = {"time": AxisArray.CoordinateAxis(data=stamps, dims=["time"], unit="s")}
        yield self.OUTPUT, replace(message, data=data.astype("float32"), axes=axes)


if __name__ == "__main__":
    rig, file = sys.argv[1:]
    # Without these settings ezmsg dejitters stamps, and moves them to the system's clock.
    inlet = LSLInletUnit(
        LSLInletSettings(
            info=LSLInfo(name=f"{rig} Factors"), use_lsl_clock=True,
            processing_flags=pylsl.proc_none,
        )
    )  # fmt: skip
    outlet = LSLOutletUnit(
        LSLOutletSettings(
            stream_name=f"{rig} MyBehaviour", stream_type="Behaviour", assume_lsl_clock=True
        )
    )
    decode = Decode(Settings(file))
    ez.run(
        INLET=inlet, DECODE=decode, OUTLET=outlet,
        connections=(
            (inlet.OUTPUT_SIGNAL, decode.INPUT), (decode.OUTPUT, outlet.INPUT_SIGNAL),
        ),
    )  # fmt: skip
