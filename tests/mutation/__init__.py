"""Whether the tests see it when the machine's or the journal's core is changed: `make mutate`."""
