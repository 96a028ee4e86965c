"""The commands of `noodle audit`."""
