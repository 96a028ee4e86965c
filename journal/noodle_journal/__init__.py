"""The encrypted, signed journal."""
