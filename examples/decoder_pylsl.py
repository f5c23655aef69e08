"""A decoder of one's own with pylsl: python decoder_pylsl.py RIG DECODER.safetensors."""

import sys

import pylsl
from safetensors.numpy import load_file

rig, file = sys.argv[1:]
decoder = load_file(file)  # as `decode fit --method ridge` writes it
weights, offset = decoder["weights"], decoder["offset"]
inlet = pylsl.StreamInlet(pylsl.resolve_byprop("name", f"{rig} Factors")[0])
rate, n = inlet.info().nominal_srate(), len(offset)
info = pylsl.StreamInfo(f"{rig} MyBehaviour", "Behaviour", n, rate, "float32", f"my {rig}")
outlet = pylsl.StreamOutlet(info)
while True:
    factors, stamp = inlet.pull_sample()
    outlet.push_sample((weights @ factors + offset).tolist(), stamp)
