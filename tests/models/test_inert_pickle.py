"""Files that are wrong or hostile are refused, and nothing that they name is run."""

import contextlib
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bci_lfads.errors import ModelError
from bci_lfads.models.importers import import_model
from bci_lfads.models.inert_pickle import Inert, Name, load
from bci_lfads.models.torch_file import TorchFile

FOLDER = Path(__file__).parent
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner)
    | st.tuples(inner, inner),
    max_leaves=20,
)  # fmt: skip


class Hostile:
    """Runs a command where its pickle is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def nothing(identifier):
    raise ModelError("no tensors here")


def bytes_of(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


@given(VALUES, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_out_as_they_went_in(value, protocol):
    built = {
        ("_codecs", "encode"): bytes_of,
        ("builtins", "bytes"): bytes,  # how protocols before 3 write b""
    }
    assert load(pickle.dumps(value, protocol), built, nothing) == value


@given(st.binary(max_size=60))
def test_no_bytes_do_more_than_be_refused(junk):
    with contextlib.suppress(ModelError):
        load(junk, {}, nothing)


def test_an_escape_that_text_does_not_have_brings_no_warning():
    # A warning would be an error here.
    with contextlib.suppress(ModelError):
        load(b"\x80\x02cos\\_\nsystem\n.", {}, nothing)


@given(st.data())
def test_a_damaged_pickle_is_refused_or_read(data):
    good = pickle.dumps({"a": [1, 2.5, ("x", None)], "b": {"c": {3, 4}}}, 2)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelError):
        load(bytes(bad), {}, nothing)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "call", [(os.system, "touch ran"), (eval, "1/0"), (getattr, "a", "b"), (exec, "x = 1")]
)
def test_what_runs_programs_is_refused_and_not_run(tmp_path, monkeypatch, protocol, call):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"asks for .*Nothing of it was run"):
        load(pickle.dumps({"a": Hostile(*call)}, protocol), {}, nothing)
    assert not list(tmp_path.iterdir())


def test_objects_of_other_packages_are_names_without_content():
    made = b"\x80\x02cmylab.augment\nJitter\n)\x81}(X\x01\x00\x00\x00aK\x01ub."
    assert load(made, {}, nothing) == Inert(Name("mylab.augment", "Jitter"))
    assert load(pickle.dumps(Path("x"), 2), {}, nothing).kind.name in ("PosixPath", "WindowsPath")


@pytest.mark.parametrize(
    "junk",
    [
        b"", b".", b"(.", b"]a.", b"(lp0\n", b"\x80\x02}q\x00X\xff\xff\xff\x7fa.", b"0.", b"\x86.",
        b"}K\x01K\x02KK.", b"\x80\x02c\nR.", b"\x82\x01.", b"NN\x81.", b"h\x05.",
        b"cos\nsystem\n(S'x'\ntR.", b"(i__main__\nx\n.", b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"N" * 5 + b"(" * 9 + b"t." , b"}(]N]Nu.",
    ],
)  # fmt: skip
def test_scraps_are_refused_or_plain(junk):
    try:
        found = load(junk, {}, nothing)
    except ModelError:
        return
    assert not callable(found)


def test_deep_nesting_neither_recurses_nor_hashes():
    deep = b"\x80\x02}" + b"N" + b"\x85" * 200_000 + b"K\x01s."
    assert load(deep, {}, nothing) == {}


# Files.


def archive(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_a_compressed_member_is_not_unpacked(tmp_path):
    bomb = b"\x80\x02]" + b"N0" * 10_000_000 + b"."
    path = archive(tmp_path / "bomb.ckpt", {"a/data.pkl": bomb}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match="compressed, which torch never does"):
        import_model(path, bin_width=0.01)


def test_a_member_that_lies_about_its_size_is_refused(tmp_path):
    path = archive(tmp_path / "a.ckpt", {"a/data.pkl": b"\x80\x02}."})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 20 : at + 28] = b"\xff\xff\xff\x7f" * 2  # both sizes
    path.write_bytes(data)
    with pytest.raises(ModelError, match="at most"):
        import_model(path, bin_width=0.01)


def tensor_pickle(shape, strides, size, kind="FloatStorage", offset=0) -> bytes:
    """Return the pickle of a tensor, as torch writes it, of any numbers."""

    def number(n):
        return pickle.dumps(n, 2)[2:-1]

    def many(numbers):
        return b"(" + b"".join(map(number, numbers)) + b"t"

    identifier = b"(" + b"".join(
        [number("storage"), f"ctorch\n{kind}\n".encode(), number("0"), number("cpu"), number(size)]
    ) + b"tQ"  # fmt: skip
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + identifier + number(offset)
    return b"\x80\x02" + call + many(shape) + many(strides) + b"\x89" + b"}" + b"tR."


@pytest.mark.parametrize(
    ("pickled", "size", "message"),
    [
        (tensor_pickle([1 << 30, 1 << 30], [0, 0], 1), 4, "too large"),
        (tensor_pickle([1 << 39] * 40, [0] * 40, 1), 4, "too large"),
        (tensor_pickle([3, 4], [4, 1], 11), 44, "beyond its 11 numbers"),
        (tensor_pickle([3], [1], 3, offset=1), 12, "beyond"),
        (tensor_pickle([3], [1], 3), 8, "has 8 bytes and should have 12"),
        (tensor_pickle([-3], [1], 3), 12, "a shape that is none"),
        (tensor_pickle([3], [1, 1], 3), 12, "a shape that is none"),
        (tensor_pickle([3] * 99, [1] * 99, 3), 12, "more axes"),
        (tensor_pickle([3], [1], 3, "system"), 12, "kind that is not known"),
    ],
)
def test_tensors_that_are_none_are_refused(tmp_path, pickled, size, message):
    path = archive(tmp_path / "a.ckpt", {"a/data.pkl": pickled, "a/data/0": bytes(size)})
    with pytest.raises(ModelError, match=message), TorchFile(path) as file:
        file.read(file.content)


def test_a_tensor_without_its_bytes_is_refused(tmp_path):
    path = archive(tmp_path / "a.ckpt", {"a/data.pkl": tensor_pickle([3], [1], 3)})
    with TorchFile(path) as file, pytest.raises(ModelError, match="lacks a/data/0"):
        file.read(file.content)


@pytest.mark.parametrize("order", ["little", "big"])
def test_values_are_read_in_either_byte_order_and_in_any_stride(tmp_path, order):
    values = np.arange(12, dtype="<f4" if order == "little" else ">f4")
    path = archive(
        tmp_path / "a.ckpt",
        {
            "a/data.pkl": tensor_pickle([4, 2], [1, 4], 12, offset=2),
            "a/data/0": values.tobytes(), "a/byteorder": order.encode(),
        },
    )  # fmt: skip
    with TorchFile(path) as file:
        expected = [[2 + i + 4 * j for j in range(2)] for i in range(4)]
        np.testing.assert_array_equal(file.read(file.content), expected)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    pytest.importorskip("torch")
    from models.lfads_torch_files import HP, state, write

    return write(tmp_path_factory.mktemp("checkpoint") / "a.ckpt", state(HP, 7), HP)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_checkpoint_is_refused_or_read(checkpoint, tmp_path, data):
    content = bytearray(checkpoint.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(4, len(content) - 1))]
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.ckpt"
    path.write_bytes(content)
    with contextlib.suppress(ModelError):
        import_model(path, bin_width=0.01)
