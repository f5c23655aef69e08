"""Reads streams with ezmsg-lsl's inlets.

python ezmsg_reader.py NAME=N ...: says "ready", reads N samples of each stream, prints JSON.
"""

import asyncio
import json
import sys
import time

import numpy as np
import pylsl
from ezmsg.lsl.inlet import LSLInfo, LSLInletProducer, LSLInletSettings


async def read(name: str, n: int, ready: asyncio.Barrier) -> dict:
    """Return what ezmsg makes of a stream."""
    producer = LSLInletProducer(
        settings=LSLInletSettings(
            info=LSLInfo(name=name), use_lsl_clock=True, processing_flags=pylsl.proc_none
        )
    )
    until = time.monotonic() + 15.0
    while producer.state.inlet is None and time.monotonic() < until:
        await producer.__acall__()
    await ready.wait()
    message, samples, stamps = None, [], []
    while len(samples) < n and time.monotonic() < until:
        got = await producer.__acall__()
        if got is None:
            continue
        message = got
        samples += got.data.tolist()
        axis = got.axes["time"]
        stamps += [float(axis.value(i)) for i in range(len(got.data))]
    labels = message.axes["ch"].data["label"].tolist()
    told = {
        "key": message.key,
        "labels": labels,
        "format": str(message.data.dtype),
        "attrs": message.attrs,
        "samples": samples,
        "stamps": stamps,
        "time_axis": type(axis).__name__,
    }
    producer.shutdown()
    return told
