"""Settings: what they are, where they come from, what each value is and why.

Owns the model of the settings and the reading of their files. The rest of the
package is pure and gets settings handed in.
"""

from noodle_policies.settings.model import Settings, settings_hash
from noodle_policies.settings.sources import load_settings

__all__ = ["Settings", "load_settings", "settings_hash"]
