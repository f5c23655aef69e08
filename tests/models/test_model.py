"""The model and its file: round trip, hash, and files that are not what they should be."""

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models.float_models import FORMS, random_float_model, small_spec
from safetensors.numpy import load_file, save_file

from bci_lfads.errors import ModelError
from bci_lfads.models.alignment import Alignment
from bci_lfads.models.fixed import FixedPoint
from bci_lfads.models.model import Model


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "m.safetensors"
    random_float_model(provenance={"made by": "a test"}).save(path)
    return path


def metadata(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length])["__metadata__"]


def rewrite(path, *, tensors=None, document=None, meta=None):
    """Write the file again with changes, as another program could."""
    all_tensors, all_meta = load_file(path), metadata(path)
    all_tensors |= tensors or {}
    if document:
        content = json.loads(all_meta["model"])
        document(content)
        all_meta["model"] = json.dumps(content)
    all_meta |= meta or {}
    save_file({k: v for k, v in all_tensors.items() if v is not None}, path, all_meta)


@pytest.mark.parametrize("form", FORMS)
def test_round_trip(form, tmp_path):
    model = random_float_model(
        small_spec(**form),
        alignment=Alignment(start="go*", align="move", offset=-0.25),
        provenance={"file": "x.h5"},
    )
    path = tmp_path / "m.safetensors"
    model.save(path)
    again = Model.load(path)
    assert again.hash == model.hash
    assert again.spec == model.spec
    assert again.alignment == model.alignment
    assert dict(again.provenance) == {"file": "x.h5"}
    assert again.content() == model.content()
    for name in model.weights:
        np.testing.assert_array_equal(again.weights[name], model.weights[name])
        np.testing.assert_array_equal(again.fixed.tensors[name], model.fixed.tensors[name])
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_hash_is_of_the_content_alone():
    base = random_float_model()
    assert random_float_model(provenance={"a": "b"}).hash == base.hash
    others = [
        random_float_model(seed=1),
        random_float_model(bin_width=0.02),
        random_float_model(unit_labels=tuple("abcdefg")),
        random_float_model(alignment=Alignment(start="go")),
        random_float_model(small_spec(n_ahead=1)),
        random_float_model(small_spec(activation="hard")),
    ]
    assert len({base.hash, *(m.hash for m in others)}) == 7


def test_arrays_are_read_only_and_copied():
    model = random_float_model()
    source = dict(model.weights)
    with pytest.raises(ValueError, match="read-only"):
        model.weights["ic.bias"][0] = 1
    with pytest.raises(TypeError):
        model.weights["ic.bias"] = source["ic.bias"]
    with pytest.raises(ValueError, match="read-only"):
        model.fixed.tensors["ic.bias"][0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unit_labels": ("a", "b")}, "2 unit labels for 7 units"),
        ({"unit_labels": tuple("abcdeff")}, r"more than once: \['f'\]"),
        ({"unit_labels": ("a", "b", "c", "d", "e", "f", " ")}, "not empty"),
        ({"bin_width": 0.0}, "bin width is 0.0"),
        ({"bin_width": float("nan")}, "bin width is nan"),
    ],
)
def test_parts_must_fit(change, message):
    with pytest.raises(ModelError, match=message):
        random_float_model(**change)


def test_fixed_point_must_fit_the_spec():
    model = random_float_model()
    numbers = {n: getattr(model.fixed, n) for n in vars(model.fixed) if n.endswith("point")}
    tensors, points = dict(model.fixed.tensors), dict(model.fixed.points)

    def build(tensors=tensors, points=points, **changes):
        fixed = FixedPoint(tensors, points, **numbers | changes)
        return Model(model.spec, model.weights, fixed, model.unit_labels, 0.01)

    assert build().hash == model.hash
    with pytest.raises(ModelError, match=r"tensors lack \['ic.bias'\]"):
        build({k: v for k, v in tensors.items() if k != "ic.bias"})
    with pytest.raises(ModelError, match=r"ic\.bias should be int32"):
        build(tensors | {"ic.bias": np.zeros(5, np.int16)})
    with pytest.raises(ModelError, match="generator"):
        build(generator_point=99, ic_point=99)
    with pytest.raises(ModelError, match="initial_state has point"):
        build(encoder_point=numbers["encoder_point"] - 1)
    with pytest.raises(ModelError, match=r"ic\.bias"):
        build(points=points | {"ic.bias": -40})


def test_cannot_write(tmp_path):
    with pytest.raises(ModelError, match="cannot write the model to"):
        random_float_model().save(tmp_path / "no such folder" / "m.safetensors")


def test_saving_replaces(saved):
    other = random_float_model(seed=5)
    other.save(saved)
    assert Model.load(saved).hash == other.hash


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="no model file at"):
        Model.load(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="no model file at"):
        Model.load(tmp_path)


@pytest.mark.fault("model-file")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.floats(0, 1, exclude_max=True))
def test_every_truncation_is_refused(saved, keep):
    data = saved.read_bytes()
    cut = saved.with_name("cut.safetensors")
    cut.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ModelError, match=r"cut short|not a readable"):
        Model.load(cut)


@pytest.mark.fault("model-file")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(tmp_path, data):
    path = tmp_path / "junk.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        Model.load(path)


@pytest.mark.fault("model-file")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_every_flipped_bit_is_refused_or_harmless(saved, where, bit):
    expected = Model.load(saved)
    data = bytearray(saved.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    flipped = saved.with_name("flipped.safetensors")
    flipped.write_bytes(data)
    try:
        found = Model.load(flipped)
    except ModelError:
        return
    assert found.hash == expected.hash  # the bit was in the provenance or in white space


@pytest.mark.fault("model-file")
def test_header_length_beyond_the_file(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(ModelError, match="not a safetensors file, or is cut short"):
        Model.load(path)


@pytest.mark.fault("model-file")
def test_huge_header(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2 << 20) + b" " * (2 << 20))
    with pytest.raises(ModelError, match="has a header of 2097152 bytes"):
        Model.load(path)


@pytest.mark.fault("model-file")
def test_huge_file(tmp_path):
    path = tmp_path / "m.safetensors"
    with path.open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    with pytest.raises(ModelError, match="at most 1024"):
        Model.load(path)


@pytest.mark.fault("model-file")
def test_foreign_safetensors(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"w": np.zeros(3, np.float32)}, path)
    with pytest.raises(ModelError, match="not a bci-lfads model"):
        Model.load(path)


@pytest.mark.fault("model-file")
@pytest.mark.parametrize(
    ("version", "message"),
    [("3", "update bci-lfads"), ("9" * 30, "update"), ("", "version ''"), ("x", "'x'")],
)
def test_other_versions(saved, version, message):
    rewrite(saved, meta={"format_version": version})
    with pytest.raises(ModelError, match=message):
        Model.load(saved)


@pytest.mark.fault("model-file")
@pytest.mark.parametrize(
    ("junk", "message"),
    [
        ("", "description is wrong"),
        ("[]", "description is wrong"),
        ("[" * 100_000, "description is wrong"),
        ('{"spec": 3}', "spec"),
        ('{"spec": {"n_units": 1e400}}', "description is wrong"),
    ],
)
def test_json_junk(saved, junk, message):
    rewrite(saved, meta={"model": junk})
    with pytest.raises(ModelError, match=message):
        Model.load(saved)


@pytest.mark.fault("model-file")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["spec"].update(n_units=0), "spec.n_units"),
        (lambda d: d["spec"].update(n_units=8), r"input_weight should be .*\(18, 8\)"),
        (lambda d: d["spec"].update(n_units=10**9), "should be"),
        (lambda d: d["spec"].update(color="red"), "spec.color"),
        (lambda d: d["spec"].update(ic_map="linear"), "lacks tensors"),
        (lambda d: d["fixed"].update(encoder_point="9"), "fixed.encoder_point"),
        (lambda d: d["fixed"].update(encoder_point=10**30), "point"),
        (lambda d: d["fixed"].update(factor_point=-2000), "factors"),
        (lambda d: d["fixed"]["points"].update({"ic.weight": 400}), "bias shift of ic"),
        (lambda d: d["fixed"]["points"].pop("ic.weight"), "points lack"),
        (lambda d: d.update(unit_labels=["a"] * 7), "unique"),
        (lambda d: d.update(bin_width=-1), "bin width"),
        (lambda d: d.update(bin_width=0.02), "changed or damaged"),
        (lambda d: d.update(alignment={"start": ""}), "alignment.start"),
    ],
)
def test_wrong_description(saved, change, message):
    rewrite(saved, document=change)
    with pytest.raises(ModelError, match=message):
        Model.load(saved)


@pytest.mark.fault("model-file")
@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"float/ic.bias": np.zeros(6, np.float32)}, r"float/ic.bias should be .*\(6,\)"),
        ({"float/ic.bias": np.zeros(5, np.float64)}, "found F64"),
        ({"fixed/ic.weight": np.zeros((5, 12), np.int32)}, "fixed/ic.weight should be int16"),
        ({"float/ic.bias": np.full(5, np.nan, np.float32)}, "not finite"),
        ({"float/ic.bias": np.zeros(5, np.float32)}, "changed or damaged"),
        ({"float/ic.bias": None}, "lacks tensors"),
        ({"float/more": np.zeros(5, np.float32)}, "unknown"),
        (
            {"fixed/generator.input_bias": np.full(15, 2**31 - 1, np.int32)},
            "changed or damaged|before an activation",
        ),
    ],
)
def test_wrong_tensors(saved, tensors, message):
    rewrite(saved, tensors=tensors)
    with pytest.raises(ModelError, match=message):
        Model.load(saved)
