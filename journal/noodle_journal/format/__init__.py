"""The record format: pure functions from values to bytes and back.

Owns canonical JSON, padding, headers, clear parts, leaves, the Merkle tree,
sealing and checkpoint notes. Never reads a file, a clock or a random source;
all of that is handed in. `specs/journal-format.md` says the same in words.
"""
