"""The state machine: pure, no input or output.

Owns the states, the one table of moves, the plan, `decide` and the fold. It
reads no clock, no file and no random source: time, randomness and ids are
handed in.
"""
