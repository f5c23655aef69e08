"""What a run says of itself, for those who watch without a rig file."""

import json
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from models.float_models import random_float_model

from bci_lfads.about import RATES, about, read_about, read_message
from bci_lfads.errors import RigError, StreamError
from bci_lfads.headers import parse_header
from bci_lfads.rig import parse_rig, with_engine

MODEL = random_float_model(provenance={RATES: "1,2,3,4,5,6,7.5"})


def rig(**window):
    content = {
        "name": "R", "model": "folder/m.safetensors", "input": {
            "spikes": {"name": "S <1>"}, "markers": {"name": "M"}, "units": {"n*": "*/0"}},
        "window": window or {"mode": "trials", "start": "go*"},
    }  # fmt: skip
    return parse_rig(content, Path("/somewhere/rig.toml"))


def header(text):
    return parse_header(
        "<info><name>R Status</name><type>Markers</type><source_id/><channel_count>1"
        "</channel_count><nominal_srate>0</nominal_srate><channel_format>string</channel_format>"
        f"<desc><run>{escape(text)}</run></desc></info>"
    )


@pytest.mark.parametrize("window", [{}, {"mode": "sliding", "hop": 3}], ids=["trials", "sliding"])
def test_what_is_said_is_read(window):
    said = about(rig(**window), MODEL, running=True)
    read = read_about(header(said.to_text()))
    assert read == replace(said, rig=read.rig)
    assert read.rig == said.rig.model_copy(update={"model": Path("m.safetensors")})
    assert read.hop == window.get("hop")
    assert read.unit_rates == (1, 2, 3, 4, 5, 6, 7.5)
    assert read.pid > 0


def test_no_path_of_this_machine_is_published():
    assert "somewhere" not in about(rig(), MODEL).to_text()


@pytest.mark.parametrize("rates", ["", "1,2", "1,2,3,4,5,6,x", "1,2,3,4,5,6,nan", "1,2,3,4,5,6,-1"])
def test_training_rates_that_are_none_are_left_out(rates):
    assert about(rig(), random_float_model(provenance={RATES: rates})).unit_rates is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[" * 9999,
        "3",
        "no JSON",
        json.dumps({"rig": {"name": 3}, "unit_rates": None}),
    ],
)
def test_other_versions_are_told(text):
    with pytest.raises(StreamError, match="version"):
        read_about(header(text))


def test_another_engine():
    assert with_engine(rig(), "torch").engine == "torch"
    with pytest.raises(RigError, match="there are native, torch and fpga"):
        with_engine(rig(), "abacus")


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "3", "[" * 9999])
def test_what_is_no_message_on_status_is_none(text):
    assert read_message('{"state": "running"}') == {"state": "running"}
    assert read_message(text) is None
