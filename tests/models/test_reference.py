"""The float definition, against loops over single numbers written from the equations."""

import math

import numpy as np
import pytest
from models.float_models import FORMS, poisson, random_weights, small_spec

from bci_lfads.errors import ModelError
from bci_lfads.models.reference import evaluate, infer_float


def plain_gru(spec, w, name, a, h):
    """One step, unit by unit."""
    size = len(h)
    U, b = w[f"{name}.recurrent_weight"], w[f"{name}.recurrent_bias"]

    def sigma(v):
        return (
            min(max(0.5 * v + 0.5, 0), 1) if spec.activation == "hard" else 1 / (1 + math.exp(-v))
        )

    def tau(v):
        return min(max(v, -1), 1) if spec.activation == "hard" else math.tanh(v)

    def product(row, x):
        return sum(float(U[row, j]) * x[j] for j in range(size)) + float(b[row])

    z = [sigma(a[i] + product(i, h)) for i in range(size)]
    r = [sigma(a[size + i] + product(size + i, h)) for i in range(size)]
    after = []
    for i in range(size):
        row = 2 * size + i
        if spec.gru == "reset_after":
            n = tau(a[row] + r[i] * product(row, h))
        else:
            n = tau(a[row] + product(row, [r[j] * h[j] for j in range(size)]))
        v = z[i] * h[i] + (1 - z[i]) * n
        after.append(v if spec.cell_clip is None else min(max(v, -spec.cell_clip), spec.cell_clip))
    return after


def plain_window(spec, w, counts):
    ends = []
    for side, order in (("forward", counts), ("backward", counts[::-1])):
        name = f"encoder.{side}"
        h = list(w[f"{name}.initial_state"])
        for x in order:
            h = plain_gru(spec, w, name, w[f"{name}.input_weight"] @ x + w[f"{name}.input_bias"], h)
        ends += h
    g = w["ic.weight"] @ np.array(ends) + w["ic.bias"]
    if spec.ic_map == "linear":
        g = w["generator.initial.weight"] @ g + w["generator.initial.bias"]
    factors, log_rates = [], []
    for _ in range(spec.n_bins + spec.n_ahead):
        g = plain_gru(spec, w, "generator", w["generator.input_bias"], list(g))
        factors.append(w["factors.weight"] @ np.array(g))
        log_rates.append(w["rates.weight"] @ factors[-1] + w["rates.bias"])
    return np.array(factors), np.array(log_rates)


@pytest.mark.parametrize("form", [f for f in FORMS if "quantisers" not in f])
def test_equals_single_number_loops(form):
    spec = small_spec(**form)
    weights = random_weights(spec, scale=1.5)
    counts = poisson(spec, 2)
    factors, log_rates = infer_float(spec, weights, counts)
    exact = {k: v.astype(np.float64) for k, v in weights.items()}
    for trial in range(2):
        expected = plain_window(spec, exact, counts[trial].astype(float))
        np.testing.assert_allclose(factors[trial], expected[0], atol=1e-12)
        np.testing.assert_allclose(log_rates[trial], expected[1], atol=1e-12)


def test_one_window_is_the_batch_of_one():
    spec = small_spec()
    weights = random_weights(spec)
    counts = poisson(spec, 3)
    batch, one = infer_float(spec, weights, counts), infer_float(spec, weights, counts[1])
    np.testing.assert_allclose(one.factors, batch.factors[1], atol=1e-14)
    assert one.log_rates.shape == (spec.n_bins_out, spec.n_units)


def test_quantisers_put_states_on_their_grid():
    spec = small_spec(activation="hard", quantisers={"state_point": 7})
    trace = evaluate(spec, random_weights(spec), poisson(spec))
    for values in (trace.encoder, trace.ic, trace.generator, trace.factors):
        np.testing.assert_array_equal(values * 2**7, np.rint(values * 2**7))


def test_quantised_states_saturate():
    spec = small_spec(activation="hard", quantisers={})
    weights = random_weights(spec)
    weights["ic.bias"][:] = 1.99
    weights["ic.weight"][:] = 1.99
    weights["encoder.forward.input_bias"][:] = 1.99
    wide = small_spec(activation="hard", quantisers={"state_point": 14})
    assert evaluate(wide, weights, poisson(spec)).ic.max() == 2 - 2**-14


def test_refuses_other_counts():
    spec = small_spec()
    with pytest.raises(ModelError, match=r"9 bins, 7 units.*\(2, 9, 6\)"):
        infer_float(spec, random_weights(spec), np.zeros((2, 9, 6), np.uint8))
