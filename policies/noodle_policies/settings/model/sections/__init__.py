"""The sections of the settings, one file for each that stands at the top of a file."""
