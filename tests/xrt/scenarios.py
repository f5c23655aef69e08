"""What test_emulated.py has processes do: ``scenarios.py NAME JSON`` prints a JSON line."""

import ctypes
import json
import os
import sys

import numpy as np
from models.float_models import poisson, random_float_model, small_spec
from models.random_models import numbered_model, random_counts, random_model

from bci_lfads.engines import open_engine
from bci_lfads.engines.base import Latents
from bci_lfads.engines.fpga import Card, FpgaEngine
from bci_lfads.engines.fpga.loaded import LoadedModel
from bci_lfads.engines.fpga.protocol import Answer, Command, padded
from bci_lfads.engines.native import NativeEngine
from bci_lfads.errors import BciLfadsError
from bci_lfads.models.image import pack_image
from bci_lfads.models.integer import infer_integer


class Fixed:
    """What the engines need of a model."""

    def __init__(self, spec, fixed):
        self.spec, self.fixed, self.hash = spec, fixed, "0" * 64


def varied(seed, number):
    """Return a random model, the forms in turn."""
    return Fixed(
        *random_model(
            seed + number, full_range=number % 8 == 7, bytes_=number % 8 == 5,
            gru=("reset_after", "reset_before")[number % 2],
            activation=("hard", "smooth")[number // 2 % 2],
        )
    )  # fmt: skip


def same(ours, theirs):
    return bool(
        np.array_equal(ours.factors, theirs.factors)
        and np.array_equal(ours.log_rates, theirs.log_rates)
    )


def refusal(action):
    """Return type and words of the error that an action raises."""
    try:
        action()
    except BciLfadsError as error:
        return [type(error).__name__, str(error)]
    return ["none", ""]


def open_fails(xilinx_xrt=None, **options):
    if xilinx_xrt is not None:
        os.environ["XILINX_XRT"] = xilinx_xrt
    model = random_float_model()
    return refusal(lambda: FpgaEngine(model, **options))


def random_models(xclbin, n, seed, wait="spin"):
    """Single windows and batches of many models, each loaded in the place of the last."""
    equal, forms, engine = 0, set(), None
    for number in range(n):
        model = varied(seed, number)
        spec = model.spec
        counts = random_counts(seed + number, spec, n_trials=8)
        if engine is None:
            engine = FpgaEngine(model, xclbin=xclbin, wait=wait, batch=3)
        else:
            engine.load(model)
        with NativeEngine(model) as native:
            right = all(same(engine.infer(c), native.infer(c)) for c in counts[:2])
            right &= same(engine.infer_batch(counts), native.infer_batch(counts))
            alone = engine.infer_batch(counts, log_rates=False)
            right &= np.array_equal(alone.factors, native.infer_batch(counts).factors)
            right &= alone.log_rates is None
        equal += bool(right)
        forms.add((spec.gru, spec.activation, spec.ic_map))
    device = engine.info.device
    engine.close()
    return {"equal": equal, "forms": len(forms), "device": device}


def persistent(xclbin, n, seed, wait="spin"):
    """Windows, moving windows and batches by the mailbox, each model in the place of the last."""
    equal, starts, engine = 0, [], None
    for number in range(n):
        model, hop = varied(seed, number), 1 + number % 3
        spec = model.spec
        counts = random_counts(seed + number, spec, n_trials=5)
        stream = counts.reshape(-1, spec.n_units)
        moving = [
            np.ascontiguousarray(stream[i : i + spec.n_bins])
            for i in range(0, len(stream) - spec.n_bins + 1, hop)
        ]
        if engine is None:
            engine = FpgaEngine(
                model, xclbin=xclbin, wait=wait, launch="persistent", hop=hop, timeout=30
            )
        else:
            engine.load(model)
        with NativeEngine(model) as native:
            right = all(same(engine.infer(c), native.infer(c)) for c in [*counts[:2], *moving])
            right &= same(engine.infer_batch(counts), native.infer_batch(counts))
            alone = engine.infer_batch(counts, log_rates=False)
            right &= np.array_equal(alone.factors, native.infer_batch(counts).factors)
        equal += bool(right)
        starts.append(engine.loaded.starts)
    found = {"equal": equal, "starts": starts, "device": engine.info.device}
    engine.close()
    return found


def agreement(xclbin, library, first, n, seed):
    """The models of a series, each by the integer reference and by every other way.

    Returns the names of the ways with the models on which each agrees to the bit.
    """
    numbers = range(first, first + n)
    models = [Fixed(*numbered_model(seed, number)) for number in numbers]
    counts = [random_counts(seed + i, m.spec, 2) for i, m in zip(numbers, models, strict=True)]
    expected = [infer_integer(m.spec, m.fixed, c) for m, c in zip(models, counts, strict=True)]
    right = {}

    def check(way, found):
        """`found` gives a model's results, integers or what they stand for."""
        right[way] = 0
        for model, c, wanted in zip(models, counts, expected, strict=True):
            factors, rates = found(model, c)
            integers = factors.dtype == np.int32
            points = (0, 0) if integers else (model.fixed.factor_point, model.fixed.log_rate_point)
            right[way] += bool(
                np.array_equal(np.ldexp(wanted.factors, -points[0]), factors)
                and np.array_equal(np.ldexp(wanted.log_rates, -points[1]), rates)
            )

    kernel = CompiledKernel(library)
    check("C simulation", kernel.infer)
    check("native", lambda m, c: NativeEngine(m).infer_batch(c))
    check("native, portable", lambda m, c: NativeEngine(m, path="portable").infer_batch(c))
    for launch in ("per-trial", "persistent"):
        engine = FpgaEngine(models[0], xclbin=xclbin, launch=launch, timeout=30, batch=1)

        def on_card(model, c, engine=engine):
            engine.load(model)
            singles = [engine.infer(window) for window in c]
            batch = engine.infer_batch(c)
            if not same(batch, Latents(*map(np.stack, zip(*singles, strict=True)))):
                return np.zeros(0, np.float32), np.zeros(0, np.float32)
            return batch

        check(f"XRT, {engine.launch}", on_card)
        engine.close()
    return right


class CompiledKernel:
    """The card's top function, called as the C simulation calls it."""

    def __init__(self, library):
        self.call = ctypes.CDLL(library).lfads_kernel
        self.call.restype = None

    def infer(self, model, counts):
        spec, image = model.spec, pack_image(model.spec, model.fixed)
        rows = np.zeros((*counts.shape[:2], padded(spec.n_units, 1)), np.uint8)
        rows[..., : spec.n_units] = counts
        lead = (len(counts), spec.n_bins_out)
        factors = np.zeros((*lead, padded(spec.n_factors, 4)), np.int32)
        rates = np.zeros((*lead, padded(spec.n_units, 4)), np.int32)
        arrays = [aligned(a) for a in (rows, factors, rates, np.zeros(16, np.uint32))]
        for command in (Command.LOAD, Command.RUN):
            c, f, r, answer = (a.ctypes.data_as(ctypes.c_void_p) for a in arrays)
            self.call(
                int(command), 1, image.ctypes.data_as(ctypes.c_void_p), image.size, c, f, r,
                len(counts), answer, None,
            )  # fmt: skip
            if arrays[3][Answer.STATUS] != 0:
                raise RuntimeError(f"{command.name} gave status {arrays[3][Answer.STATUS]}")
        return arrays[1][..., : spec.n_factors], arrays[2][..., : spec.n_units]


def aligned(array):
    """Return a copy that starts on 64 bytes."""
    room = np.zeros(array.nbytes + 64, np.uint8)
    first = -room.ctypes.data % 64
    copy = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def opened_twice(xclbin):
    """Open, close and open again; two engines at once would share the card's one model."""
    model, right = random_float_model(), []
    counts = poisson(model.spec)
    with NativeEngine(model) as native:
        for _ in range(2):
            with open_engine("fpga", model, xclbin=xclbin) as engine:
                right.append(same(engine.infer_batch(counts), native.infer_batch(counts)))
            right.append(refusal(lambda e=engine: e.infer(counts[0]))[1])
    return right


def too_large(xclbin):
    large = random_float_model(small_spec(n_units=257, generator_size=130, ic_size=130))
    small = random_float_model()
    counts = poisson(small.spec)
    with FpgaEngine(small, xclbin=xclbin) as engine, NativeEngine(small) as native:
        refused = refusal(lambda: engine.load(large))
        still_right = same(engine.infer(counts[0]), native.infer(counts[0]))
    return [*refused, still_right]


def damaged_image(xclbin):
    """A bit flipped on the way: refused, and the model before it stays."""
    model = random_float_model()
    image = pack_image(model.spec, model.fixed)
    bad = image.copy()
    bad[-1] ^= 1
    counts = poisson(model.spec)[0]
    expected = infer_integer(model.spec, model.fixed, counts[None])
    with Card(xclbin) as card:
        loaded = LoadedModel(card, image)
        refused = refusal(lambda: LoadedModel(card, bad))
        loaded.one(counts, True)
        right = np.array_equal(loaded.factors, expected.factors[0])
        right &= np.array_equal(loaded.log_rates, expected.log_rates[0])
        loaded.close()
    return [*refused, bool(right)]


def two_models(xclbin):
    """What another program with the card does: it loads its model after ours."""
    mine, other = random_float_model(seed=1), random_float_model(seed=2)
    counts = poisson(mine.spec)[0]
    expected = infer_integer(other.spec, other.fixed, counts[None])
    with Card(xclbin) as card:
        ours, theirs = (LoadedModel(card, pack_image(m.spec, m.fixed)) for m in (mine, other))
        theirs.one(counts, True)
        right = np.array_equal(theirs.factors, expected.factors[0])
        refused = refusal(lambda: ours.one(counts, True))
        after = refusal(lambda: theirs.one(counts, True))
        ours.close()
        theirs.close()
    return [refused, bool(right), after]


def hangs(xclbin, fallback):
    """The kernel never ends: a typed error in time, and with a fallback the same numbers."""
    model = random_float_model()
    counts = poisson(model.spec, 3)
    options = {"xclbin": xclbin, "timeout": 0.3}
    with NativeEngine(model) as native:
        expected = [native.infer(c) for c in counts]
    if fallback:
        engine = open_engine("fpga", model, fallback="native", **options)
        right = [same(engine.infer(c), e) for c, e in zip(counts, expected, strict=True)]
        found = [right, engine.info.name, engine.notice]
        engine.close()
    else:
        engine = FpgaEngine(model, **options)
        found = [
            same(engine.infer(counts[0]), expected[0]),
            refusal(lambda: engine.infer(counts[1])),
            refusal(lambda: engine.infer(counts[2])),
        ]
        engine.close()
    return found


def falls_back_at_once(xclbin, device):
    model = random_float_model()
    counts = poisson(model.spec)
    with (
        open_engine("fpga", model, xclbin=xclbin, device=device, fallback="native") as engine,
        NativeEngine(model) as native,
    ):
        right = same(engine.infer_batch(counts), native.infer_batch(counts))
        return [right, engine.info.name, engine.notice]


def newer_pyxrt(xclbin):
    """The calls of pyxrt 2.16 and later, in front of the same runtime."""
    import xrt.newer_pyxrt as newer

    sys.modules["pyxrt"] = newer
    return [*opened_twice(xclbin), newer.used]


def main():
    result = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(result, default=list) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
