"""Kind `file`: one plain file, exchanged whole with the one staged beside it."""

from noodle_engine.targets.file.target import FileTarget

__all__ = ["FileTarget"]
