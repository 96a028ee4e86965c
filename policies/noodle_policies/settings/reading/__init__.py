"""From files, variables and options to values with a known origin."""
