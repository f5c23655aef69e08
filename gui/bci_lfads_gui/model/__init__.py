"""What the window knows, in fixed memory: no Qt, no LSL."""
