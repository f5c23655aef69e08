"""What the controls do: one desk each for the loop, the replay and recordings minds its process."""
