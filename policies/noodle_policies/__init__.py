"""Settings and rules: pure functions of what is handed in.

Owns no input or output and imports neither the engine nor the journal.
"""
