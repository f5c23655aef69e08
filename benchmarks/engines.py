"""Engines side by side on one model: latency, instruction bound, sizes, sliding windows, batches.

    python benchmarks/engines.py [--quick] [--json FILE] [--picture FILE]

Needs the extra ``bench`` (torch, onnx, onnxruntime). Every engine runs the same float model of the
published sizes (smooth activations, which all of them have); ours also its hard form. Calls are
interleaved: in each round every engine is called some times in a row, in an order drawn anew.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from common import describe_machine, records
from numpy.typing import NDArray

from bci_lfads.engines import _native
from bci_lfads.engines.base import allocate
from bci_lfads.engines.native import NativeEngine
from bci_lfads.models.model import Model
from bci_lfads.models.spec import LfadsSpec

RATE = 0.144  # spikes per unit and bin, as in the published model's data
PUBLISHED = {
    "n_units": 70, "n_bins": 73, "encoder_size": 64, "ic_size": 64, "generator_size": 64,
    "n_factors": 4,
}  # fmt: skip
Call = Callable[[NDArray[np.uint8]], object]


def random_model(seed: int = 0, bits: int = 16, **fields: Any) -> Model:
    """Return a model with random weights of the size that training gives, 16 bits or 8."""
    spec = LfadsSpec(**(PUBLISHED | fields))
    rng = np.random.default_rng(seed)
    weights = {
        name: rng.normal(0.0, shape[-1] ** -0.5 if name.endswith("weight") else 0.1, shape).astype(
            np.float32
        )
        for name, shape in spec.weight_shapes().items()
    }
    labels = tuple(f"u{i}" for i in range(spec.n_units))
    return Model.from_weights(
        spec, weights, unit_labels=labels, bin_width=0.01, calibration=counts_for(spec),
        weight_bits=bits, product_bits=bits,
    )  # fmt: skip


def counts_for(spec: LfadsSpec, n: int = 64, seed: int = 1) -> NDArray[np.uint8]:
    """Return Poisson counts, uint8, shape ``(n, n_bins, n_units)``."""
    shape = (n, spec.n_bins, spec.n_units)
    return np.random.default_rng(seed).poisson(RATE, shape).astype(np.uint8)


# --- the peers ---------------------------------------------------------------------------------


def torch_call(model: Model, threads: int, *, compiled: bool) -> Call:
    """Return the float32 network in torch, eager or compiled."""
    import torch

    from bci_lfads.models.network import network_from_weights

    net: Any = network_from_weights(model.spec, model.weights, torch.float32).eval()
    if compiled:
        net = torch.compile(net)

    def call(counts: NDArray[np.uint8]) -> object:
        torch.set_num_threads(threads)
        with torch.inference_mode():
            return net(torch.from_numpy(counts[None]).float())

    return call


def onnx_model(model: Model) -> bytes:
    """Return the same network as an ONNX graph of two GRU nodes; the generator has no input."""
    from onnx import TensorProto, helper, numpy_helper

    spec, w = model.spec, model.weights
    if spec.gru != "reset_after" or spec.activation != "smooth" or spec.ic_map != "direct":
        raise ValueError("ONNX's GRU node computes the smooth reset-after form")
    sides = ("forward", "backward")

    def stacked(part: str) -> NDArray[np.float32]:
        return np.stack([w[f"encoder.{side}.{part}"] for side in sides])

    def biases(*parts: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.concatenate(parts, axis=-1)

    generator = {p: w[f"generator.{p}"][None] for p in ("recurrent_weight", "recurrent_bias")}
    constants = {
        "W": stacked("input_weight"),
        "R": stacked("recurrent_weight"),
        "B": biases(stacked("input_bias"), stacked("recurrent_bias")),
        "h0": stacked("initial_state")[:, None],
        "ic_w": w["ic.weight"].T.copy(),
        "ic_b": w["ic.bias"],
        "nothing": np.zeros((spec.n_bins_out, 1, 1), np.float32),
        "gW": np.zeros((1, 3 * spec.generator_size, 1), np.float32),
        "gR": generator["recurrent_weight"],
        "gB": biases(w["generator.input_bias"][None], generator["recurrent_bias"]),
        "f_w": w["factors.weight"].T.copy(),
        "r_w": w["rates.weight"].T.copy(),
        "r_b": w["rates.bias"],
        "joined": np.array([1, 2 * spec.encoder_size]),
        "ic_shape": np.array([1, 1, spec.generator_size]),
        "states_shape": np.array([spec.n_bins_out, spec.generator_size]),
    }
    node = helper.make_node
    gru = {"linear_before_reset": 1}
    nodes = [
        node("GRU", ["x", "W", "R", "B", "", "h0"], ["", "ends"], direction="bidirectional",
             hidden_size=spec.encoder_size, **gru),
        node("Reshape", ["ends", "joined"], ["e"]),
        node("MatMul", ["e", "ic_w"], ["ic0"]),
        node("Add", ["ic0", "ic_b"], ["ic1"]),
        node("Reshape", ["ic1", "ic_shape"], ["g0"]),
        node("GRU", ["nothing", "gW", "gR", "gB", "", "g0"], ["states4", ""],
             hidden_size=spec.generator_size, **gru),
        node("Reshape", ["states4", "states_shape"], ["states"]),
        node("MatMul", ["states", "f_w"], ["factors"]),
        node("MatMul", ["factors", "r_w"], ["rates0"]),
        node("Add", ["rates0", "r_b"], ["log_rates"]),
    ]  # fmt: skip
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "lfads",
        [info("x", TensorProto.FLOAT, [spec.n_bins, 1, spec.n_units])],
        [
            info("factors", TensorProto.FLOAT, [spec.n_bins_out, spec.n_factors]),
            info("log_rates", TensorProto.FLOAT, [spec.n_bins_out, spec.n_units]),
        ],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def onnx_call(model: Model, threads: int, *, bound: bool) -> Call:
    """Return ONNX Runtime on the CPU, plain or with its inputs and outputs bound."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(onnx_model(model), options, ["CPUExecutionProvider"])
    x = np.zeros((model.spec.n_bins, 1, model.spec.n_units), np.float32)
    if not bound:

        def call(counts: NDArray[np.uint8]) -> object:
            x[:, 0] = counts
            return session.run(None, {"x": x})

        return call
    binding = session.io_binding()
    value = ort.OrtValue.ortvalue_from_numpy(x)
    binding.bind_ortvalue_input("x", value)
    binding.bind_output("factors")
    binding.bind_output("log_rates")

    def bound_call(counts: NDArray[np.uint8]) -> object:
        x[:, 0] = counts
        value.update_inplace(x)
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    return bound_call


def native_call(model: Model, **options: Any) -> Call:
    """Return the native engine with buffers that it writes to."""
    engine = NativeEngine(model, **options)
    out = allocate(engine.info)
    return lambda counts: engine.infer(counts, out)


# --- timing ------------------------------------------------------------------------------------


@dataclass
class Timed:
    """An engine's calls, seconds each."""

    name: str
    call: Call
    seconds: list[float] = field(default_factory=list)

    def quantiles(self) -> tuple[float, float, float, float]:
        """Return minimum, median, 99th and 99.9th percentile, seconds."""
        found = np.quantile(self.seconds, (0.0, 0.5, 0.99, 0.999))
        return (float(found[0]), float(found[1]), float(found[2]), float(found[3]))


_REST = 0.03
"""Seconds between engines: the threads of some go on looking for work for a while."""
_WARM = 0.005
"""Seconds of calls after such a rest that are not timed."""


def interleave(
    engines: list[Timed], counts: NDArray[np.uint8], *, rounds: int, calls: int, budget: float
) -> None:
    """Call every engine `calls` times in a row in each round, in an order drawn anew.

    Parameters
    ----------
    engines
        Their `seconds` are filled.
    counts
        Windows to give, one after the other.
    rounds, calls
        How often; slow engines are called less, so that one takes at most `budget` seconds.
    budget
        Seconds for one engine in all.
    """
    rng = np.random.default_rng(0)
    often = {}
    for e in engines:
        for k in range(20):
            e.call(counts[k % len(counts)])
        began = time.perf_counter()
        e.call(counts[0])
        took = time.perf_counter() - began
        often[e.name] = max(2, min(calls, int(budget / rounds / took)))
    for _ in range(rounds):
        for i in rng.permutation(len(engines)):
            e = engines[i]
            if len(engines) > 1:
                time.sleep(_REST)
                # Its own threads wake up; what a rest costs is in the sliding window's table.
                until = time.perf_counter() + _WARM
                while time.perf_counter() < until:
                    e.call(counts[0])
            for k in range(often[e.name]):
                window = counts[k % len(counts)]
                began = time.perf_counter()
                e.call(window)
                e.seconds.append(time.perf_counter() - began)


# --- what the arithmetic needs -----------------------------------------------------------------

LANES = {"avx512": 16, "avx2": 8, "neon": 4}
# float64 instructions for each vector of states in a step: reset and update gate (convert two
# parts, scale and add them; clamp, round), candidate (the same, and times the gate), blend (two
# factors, sum, round, and two conversions).
HARD_STEP = 7 + 9 + 7 + 6
# For each of three activations the table takes about this many more. In halves (avx512), for two
# vectors of states: 3 to make integers, 5 for piece and place, 5 to look up, 7 for products and
# sums, 5 to round, 3 to make float64 again; less 6 that the hard form takes.
SMOOTH_MORE = {"avx512": 3 * 11, "avx2": 3 * 16, "neon": 3 * 16}


@dataclass(frozen=True)
class Bound:
    """Instructions that a window needs at least, and how long this CPU takes for them.

    Loads, stores and waiting for results count nothing.
    """

    dots: int
    others: int
    seconds: float
    recurrent_seconds: float
    """Of the recurrences' products alone."""


def padded(n: int) -> int:
    """Return `n` up to a multiple of 16, as rows and columns are padded."""
    return -(-n // 16) * 16


def bound(model: Model, counts: NDArray[np.uint8], path: str) -> Bound:
    """Return the instruction bound of a window on a path."""
    spec = model.spec
    lanes = LANES[path]
    e, g = padded(spec.encoder_size), padded(spec.generator_size)
    each = 4 if model.fixed.encoder_drop and path == "avx512" else 2  # columns a lane takes
    recurrent = 2 * spec.n_bins * 3 * e * e + spec.n_bins_out * 3 * g * g
    recurrent //= each * lanes
    whole = np.pad(counts, ((0, 0), (0, 0), (0, -counts.shape[2] % each)))
    fired = whole.reshape(*whole.shape[:2], -1, each).any(axis=-1).sum(axis=(1, 2)).mean()
    inputs = int(2 * fired * 3 * e / lanes)
    initial = g * padded(2 * spec.encoder_size) // 2 // lanes
    read_out = spec.n_bins_out * padded(spec.n_factors) * g // 2 // lanes
    dots = recurrent + inputs + initial + read_out
    step = HARD_STEP + (SMOOTH_MORE[path] if spec.activation == "smooth" else 0)
    steps = (2 * spec.n_bins * e + spec.n_bins_out * g) * 2 // lanes
    rates = spec.n_bins_out * padded(spec.n_units) * 2 // lanes * (spec.n_factors + 5)
    others = steps * step + rates
    weight_bytes = max(4096, 3 * max(e * e, g * g) * 4 // each)
    dot_rate, other_rate = _native.instruction_rates(path, weight_bytes, 0.1)
    return Bound(
        dots, others, dots / dot_rate + others / other_rate, recurrent / dot_rate
    )  # fmt: skip


# --- the tables --------------------------------------------------------------------------------


def peers(model: Model, hard: Model, byte: Model, *, compiled: bool) -> Iterator[Timed]:
    """Yield the engines to compare."""
    yield Timed("native 8 bit, hard, 1 thread", native_call(byte))
    yield Timed("native int16, 1 thread", native_call(model))
    yield Timed("native int16, 2 threads", native_call(model, n_threads=2, patience=0.01))
    yield Timed("native int16, hard, 1 thread", native_call(hard))
    yield Timed("native int16, hard, 2 threads", native_call(hard, n_threads=2, patience=0.01))
    for path in _native.PATHS[1:]:
        yield Timed(f"native int16, {path}, 1 thread", native_call(model, path=path))
    for threads in (1, 2):
        for kind, is_bound in (("", False), (", bound", True)):
            call = onnx_call(model, threads, bound=is_bound)
            yield Timed(f"ONNX Runtime{kind}, {threads} thread{'s'[: threads - 1]}", call)
    for threads in (1, 2):
        call = torch_call(model, threads, compiled=False)
        yield Timed(f"torch eager, {threads} thread{'s'[: threads - 1]}", call)
    if compiled:
        for threads in (1, 2):
            call = torch_call(model, threads, compiled=True)
            yield Timed(f"torch.compile, {threads} thread{'s'[: threads - 1]}", call)


def check_peers(model: Model, counts: NDArray[np.uint8]) -> dict[str, float]:
    """Return how far each float peer's and the native factors are from float64, at most."""
    from bci_lfads.models.reference import evaluate

    exact = evaluate(model.spec, model.weights, counts[:4]).factors
    native = np.stack([NativeEngine(model).infer(c).factors for c in counts[:4]])
    runtime = onnx_call(model, 1, bound=False)
    onnx = np.stack([runtime(c)[0] for c in counts[:4]])  # type: ignore[index]
    eager = torch_call(model, 1, compiled=False)
    torch = np.stack([eager(c)[0][0].numpy() for c in counts[:4]])  # type: ignore[index]
    found = {"native": native, "ONNX Runtime": onnx, "torch": torch}
    return {name: float(np.abs(f - exact).max()) for name, f in found.items()}


def engine_table(engines: list[Timed], reference: str) -> list[dict[str, object]]:
    """Return a row an engine; ratios are medians over that of `reference`."""
    base = next(e for e in engines if e.name == reference).quantiles()
    rows: list[dict[str, object]] = []
    for e in engines:
        best, median, p99, p999 = e.quantiles()
        rows.append(
            {
                "engine": e.name,
                "calls": len(e.seconds),
                "best, µs": f"{1e6 * best:.1f}",
                "median, µs": f"{1e6 * median:.1f}",
                "p99, µs": f"{1e6 * p99:.1f}",
                "p99.9, µs": f"{1e6 * p999:.1f}",
                "median ratio": f"{median / base[1]:.2f}",
                "p99 ratio": f"{p99 / base[2]:.2f}",
            }
        )
    return rows


def bound_table(models: dict[str, Model], rounds: int) -> list[dict[str, object]]:
    """Return measured latency against the instruction bound, a row a model and path."""
    rows: list[dict[str, object]] = []
    for name, model in models.items():
        counts = counts_for(model.spec)
        for path in _native.PATHS[:-1]:
            timed = Timed(path, native_call(model, path=path))
            interleave([timed], counts, rounds=rounds, calls=50, budget=5.0)
            best, median, p99, _ = timed.quantiles()
            least = bound(model, counts, path)
            rows.append(
                {
                    "model": name,
                    "path": path,
                    "products": least.dots,
                    "other": least.others,
                    "recurrences alone, µs": f"{1e6 * least.recurrent_seconds:.1f}",
                    "bound, µs": f"{1e6 * least.seconds:.1f}",
                    "best, µs": f"{1e6 * best:.1f}",
                    "median, µs": f"{1e6 * median:.1f}",
                    "median / bound": f"{median / least.seconds:.2f}",
                    "p99 / median": f"{p99 / median:.2f}",
                }
            )
    return rows


def size_table(quick: bool) -> list[dict[str, object]]:
    """Return latency over sizes, one changed at a time."""
    sizes: dict[str, tuple[int, ...]] = {
        "n_units": (16, 64, 256, 1024),
        "n_bins": (10, 40, 160, 512),
        "hidden": (32, 64, 128, 256),
        "n_factors": (1, 4, 16, 64),
    }
    rows: list[dict[str, object]] = []
    for name, values in sizes.items():
        for value in values[:: 2 if quick else 1]:
            changed: dict[str, Any] = {name: value}
            if name == "hidden":
                changed = dict.fromkeys(("encoder_size", "generator_size", "ic_size"), value)
            model = random_model(activation="hard", **changed)
            spec, counts = model.spec, counts_for(model.spec, 8)
            engine = NativeEngine(model)
            byte = random_model(bits=8, activation="hard", **changed)
            timed, small = Timed("16", native_call(model)), Timed("8", native_call(byte))
            interleave([timed, small], counts, rounds=5, calls=40, budget=1.0)
            e, g = spec.encoder_size, spec.generator_size
            macs = (
                2 * spec.n_bins * 3 * e * e
                + spec.n_bins_out * 3 * g * g
                + 2 * counts[0].astype(bool).sum() * 3 * e
                + 2 * e * g
                + spec.n_bins_out * spec.n_factors * (g + spec.n_units)
            )
            median = timed.quantiles()[1]
            rows.append(
                {
                    "changed": name,
                    "to": value,
                    "path": engine.info.device,
                    "multiply-accumulates, millions": f"{macs / 1e6:.2f}",
                    "median, µs": f"{1e6 * median:.1f}",
                    "per ns": f"{macs / median / 1e9:.1f}",
                    "8 bit, µs": f"{1e6 * small.quantiles()[1]:.1f}",
                    "16 / 8 bit": f"{median / small.quantiles()[1]:.2f}",
                }
            )
    return rows


def sliding_table(model: Model, byte: Model, rounds: int) -> list[dict[str, object]]:
    """Return the cost of a window that moves on by one bin, and of one after a pause of 10 ms."""
    spec = model.spec
    stream = counts_for(spec, 20).reshape(-1, spec.n_units)
    windows = np.stack([stream[k : k + spec.n_bins] for k in range(1000)])
    kept = Timed("each bin, shared parts kept", native_call(model, hop=1))
    anew = Timed("each bin, all anew", native_call(model))
    small = Timed("each bin, shared parts kept, 8 bit", native_call(byte, hop=1))
    for e in (kept, anew, small):
        e.call(windows[0])
    for _ in range(rounds):
        for e in (kept, anew, small):
            for window in windows[1:200]:
                began = time.perf_counter()
                e.call(window)
                e.seconds.append(time.perf_counter() - began)
            e.call(windows[0])
    rested = Timed("every 10 ms, shared parts kept", native_call(model, hop=1))
    rested.call(windows[0])
    for window in windows[1:]:
        time.sleep(0.01)
        began = time.perf_counter()
        rested.call(window)
        rested.seconds.append(time.perf_counter() - began)
    rows: list[dict[str, object]] = []
    for e in (kept, anew, small, rested):
        best, median, p99, _ = e.quantiles()
        rows.append(
            {
                "sliding window": e.name,
                "calls": len(e.seconds),
                "best, µs": f"{1e6 * best:.1f}",
                "median, µs": f"{1e6 * median:.1f}",
                "p99, µs": f"{1e6 * p99:.1f}",
                "of a core at 10 ms": f"{median / 0.01:.2%}",
            }
        )
    return rows


def batch_table(model: Model) -> list[dict[str, object]]:
    """Return throughput of many windows at once."""
    counts = np.tile(counts_for(model.spec), (32, 1, 1))
    rows: list[dict[str, object]] = []
    for threads in (1, 2):
        engine = NativeEngine(model, batch_threads=threads)
        took = []
        for _ in range(5):
            began = time.perf_counter()
            engine.infer_batch(counts)
            took.append(time.perf_counter() - began)
        each = float(np.median(took)) / len(counts)
        rows.append(
            {
                "batch of": len(counts),
                "threads": threads,
                "µs a window": f"{1e6 * each:.1f}",
                "windows a second": f"{1 / each:,.0f}",
            }
        )
    return rows


def memory() -> dict[str, float]:
    """Return the bytes that an engine adds to a process, in MiB."""

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    model = random_model()
    before = resident()
    engines = [NativeEngine(model) for _ in range(20)]
    counts = counts_for(model.spec, 1)[0]
    for engine in engines:
        engine.infer(counts)
    return {"MiB an engine": round((resident() - before) / len(engines), 2)}


def draw(engines: list[Timed], sizes: list[dict[str, object]], path: Path) -> None:
    """Draw latencies and how they grow with size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = sorted(engines, key=lambda e: -e.quantiles()[1])
    for i, e in enumerate(shown):
        _, median, p99, _ = e.quantiles()
        ours = e.name.startswith("native")
        left.barh(i, 1e6 * median, color="#c1440e" if ours else "0.6")
        left.plot([1e6 * median, 1e6 * p99], [i, i], color="k", lw=1)
        left.text(1e6 * p99 * 1.1, i, f"{1e6 * median:.0f}", va="center", fontsize=8)
    left.set_yticks(range(len(shown)), [e.name for e in shown], fontsize=8)
    left.set_xscale("log")
    left.set_xlim(10, None)
    left.set(xlabel="µs a window: median (bar), p99 (line)", title="Batch 1, published sizes")
    for name in dict.fromkeys(str(r["changed"]) for r in sizes):
        rows = [r for r in sizes if r["changed"] == name]
        right.loglog(
            [float(str(r["multiply-accumulates, millions"])) for r in rows],
            [float(str(r["median, µs"])) for r in rows],
            "o-",
            label=name,
        )
    right.grid(which="both", alpha=0.3)
    right.legend(title="changed")
    right.set(
        xlabel="multiply-accumulates, millions",
        ylabel="median, µs a window",
        title="Native engine, 1 thread: sizes",
    )
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--picture", type=Path, help="draw them here")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    rounds, calls = (4, 10) if asked.quick else (60, 50)
    smooth, hard = random_model(activation="smooth"), random_model(activation="hard")
    byte = random_model(activation="hard", bits=8)
    counts = counts_for(smooth.spec)
    errors = check_peers(smooth, counts)
    engines = list(peers(smooth, hard, byte, compiled=not (asked.no_compile or asked.quick)))
    interleave(engines, counts, rounds=rounds, calls=calls, budget=2.0 if asked.quick else 20.0)
    tables = {
        "Engines": engine_table(engines, "native int16, 1 thread"),
        "Against the instruction bound": bound_table(
            {"hard": hard, "hard, 8 bit": byte, "smooth": smooth}, rounds
        ),
        "Sliding window": sliding_table(hard, byte, 1 if asked.quick else 10),
        "Batches": batch_table(hard),
        "Sizes": size_table(asked.quick),
    }
    out = sys.stdout
    machine = describe_machine()
    out.write(f"{machine}; {rounds} rounds\n\n")
    for title, rows in tables.items():
        out.write(f"**{title}**\n\n{records(rows)}\n\n")
    far = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    out.write(f"Largest error of a factor against float64: {far}. {memory()}\n")
    if asked.json:
        asked.json.write_text(
            json.dumps({"machine": machine, "errors": errors, **tables}, indent=1)
        )
    if asked.picture:
        draw(engines, tables["Sizes"], asked.picture)


if __name__ == "__main__":
    main()
