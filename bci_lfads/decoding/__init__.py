"""Factors to behaviour: fitted from a recording, run on LSL.

``steps`` holds what runs in the loop (plain NumPy, nothing allocated): history, linear read-out,
Kalman filter, classifier. ``rows`` takes a recording through the offline path to the rows that a
run would publish; ``fitting`` fits and cross-validates on them; ``file`` keeps the result as data.
``consumer`` is the LSL side: factors in, `<rig> DecodedBehaviour` out. docs/decoding.md.
"""
