"""A virtual rig: a simulated subject reaches for targets with a cursor that is decoded from it.

``task`` (centre-out) and ``subject`` (intention, units, what is perturbed) make ``rig``, one step
of which takes a movement of the cursor and gives spikes. ``offline`` closes the loop on a virtual
clock, faster than real time, with what ``feedback`` has; ``online`` closes it over LSL, through a
run and a decoder that are processes of their own. ``scores`` and ``picture`` say how it went.
docs/closed_loop.md.
"""
