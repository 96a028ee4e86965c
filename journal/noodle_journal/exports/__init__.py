"""Exports: a journal for somebody who has neither its home nor its key.

Owns the folder of segments and a signed manifest, its writing and its check. Reads a
journal; never writes to one. `specs/journal-format.md` says the same in words.

Laws
X1. What was written was verified on the way; what does not verify is not exported.
X2. An export checks by itself, with the log's public key and nothing else, and the verdict
    over its records is that over the journal's with the public key.
X3. Redacted and hashes only: nothing in it can be opened, with whatever key.
"""
