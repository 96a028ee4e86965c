"""Finding out what is wrong: bundles, the analysis of failures, where the time went."""
