"""Kind `directory`: a whole tree, exchanged as a plain directory or by a link to it."""

from noodle_engine.targets.directory.target import DirectoryTarget

__all__ = ["DirectoryTarget"]
