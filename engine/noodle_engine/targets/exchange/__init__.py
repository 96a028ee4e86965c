"""Exchange: what every kind that is exchanged whole does, step by step.

Owns the two names that matter, `NAME` and `.NAME.next-ID`, what each step does at
each pair of findings there, and the way back. What an object *is* (a file, a
tree, a link to a tree) a kind says by its `Objects`.
"""

from noodle_engine.targets.exchange.objects import Exchange, Found, Look, Objects
from noodle_engine.targets.exchange.target import ExchangeTarget

__all__ = ["Exchange", "ExchangeTarget", "Found", "Look", "Objects"]
