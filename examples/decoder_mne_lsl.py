"""A decoder of one's own with MNE-LSL: python decoder_mne_lsl.py RIG DECODER.safetensors."""

import sys

from mne_lsl.lsl import StreamInfo, StreamInlet, StreamOutlet, resolve_streams
from safetensors.numpy import load_file

rig, file = sys.argv[1:]
decoder = load_file(file)  # as `decode fit --method ridge` writes it
weights, offset = decoder["weights"], decoder["offset"]
inlet = StreamInlet(resolve_streams(timeout=60, name=f"{rig} Factors")[0])
inlet.open_stream()
n = len(offset)
info = StreamInfo(f"{rig} MyBehaviour", "Behaviour", n, inlet.sfreq, "float32", f"my {rig}")
outlet = StreamOutlet(info)
while True:
    factors, stamps = inlet.pull_chunk(timeout=0.005)
    if len(stamps):
        outlet.push_chunk((factors @ weights.T + offset).astype("float32"), stamps)
