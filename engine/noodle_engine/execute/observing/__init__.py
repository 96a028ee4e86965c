"""What the engine tells of itself: from its records and failures to lines and bundles."""
