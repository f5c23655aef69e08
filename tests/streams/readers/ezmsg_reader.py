"""Reads streams with the inlets of ezmsg-lsl.

python ezmsg_reader.py NAME=N ...: says "ready", reads N samples of each stream, prints JSON.
"""

import asyncio
import json
import sys
import time
from typing import Any

import pylsl
from ezmsg.lsl.inlet import LSLInfo, LSLInletProducer, LSLInletSettings

_PATIENCE = 15.0


def inlet_of(name: str) -> LSLInletProducer:
    # Stamps as they were sent: without these settings ezmsg moves them to the clock of the system.
    settings = LSLInletSettings(
        info=LSLInfo(name=name), use_lsl_clock=True, processing_flags=pylsl.proc_none
    )
    return LSLInletProducer(settings=settings)


async def connect(inlet: LSLInletProducer) -> None:
    until = time.monotonic() + _PATIENCE
    while inlet.state.inlet is None and time.monotonic() < until:
        await inlet.__acall__()


async def read(inlet: LSLInletProducer, n: int) -> dict[str, Any]:
    """Return what ezmsg makes of a stream."""
    samples: list[list[Any]] = []
    stamps: list[float] = []
    firsts: list[int] = []
    until = time.monotonic() + _PATIENCE
    message = None
    while len(samples) < n and time.monotonic() < until:
        got = await inlet.__acall__()
        if got is not None:
            message = got
            firsts.append(len(samples))
            samples += got.data.tolist()
            stamps += [float(got.axes["time"].value(i)) for i in range(len(got.data))]
    if message is None:
        return {"samples": [], "stamps": []}
    return {
        "key": message.key,
        "format": message.data.dtype.name,
        "labels": message.axes["ch"].data["label"].tolist(),
        "regular": hasattr(message.axes["time"], "gain"),
        "firsts": firsts,  # samples that began a message
        "attrs": message.attrs,
        "samples": samples,
        "stamps": stamps,
    }


async def main(wanted: dict[str, int]) -> None:
    inlets = [inlet_of(name) for name in wanted]
    await asyncio.gather(*map(connect, inlets))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    told = await asyncio.gather(*map(read, inlets, wanted.values()))
    sys.stdout.write(json.dumps(dict(zip(wanted, told, strict=True))))


if __name__ == "__main__":
    asyncio.run(main({name: int(n) for name, _, n in (w.rpartition("=") for w in sys.argv[1:])}))
