"""Lab Streaming Layer, in and out; the streams are described in docs/lsl.md.

In: `spikes` and `markers`, on a connection that finds its stream again (`connection`), by way of
`decoders`. Out: `outlets` (what a run publishes) and `sources` (spikes and markers of a replay or
simulation). `metadata` writes what a stream says of itself; `discover` lists what is there.
"""
