"""Settings: what they are, where they come from, what each value is and why.

Owns the model of the settings and the reading of their files. Only `reading.files`
does I/O, and `faces` for programs that hand nothing in; the rest is pure. `values` and `failures`
import nothing heavy: who only obeys settings pays for no model.
"""
