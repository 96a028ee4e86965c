"""Settings: what they are, where they come from, what each value is and why.

Owns the model of the settings and the reading of their files. Only `reading.files`
does I/O; the rest is pure and gets everything handed in. `values` and `failures`
import nothing heavy: who only obeys settings pays for no model.
"""
