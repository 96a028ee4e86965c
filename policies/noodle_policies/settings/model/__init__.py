"""The model of the settings: one class for each section, one field for each key.

Owns types, units, bounds, defaults and the sentence that says what a key does.
It is the only list of keys there is: schema, documentation, `explain`, the names
of variables and the messages of errors are made from it.
"""

from noodle_policies.settings.model.root import Settings
from noodle_policies.settings.model.section import Section

__all__ = ["Section", "Settings"]
