"""The only modules that rename, link and sync.

Owns a few named primitives; each says what is durable when it returns and what
is left to its caller.
"""
