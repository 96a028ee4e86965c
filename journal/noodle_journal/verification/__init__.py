"""Verification: whether a journal is, from first to last, what was written.

Owns the pass over all records and the verdict, which is a value. Never writes,
never repairs, and trusts nothing in the file that a signature does not cover.

Laws
V1. A changed, missing, moved, foreign or repeated record is found, at its number.
V2. Public key alone: order, completeness, roots, signatures and heads. With the
    master key: contents, tags and keys as well.
V3. What was cut off is found where a kept head says more; else the report says
    up to which size the journal is known.

Source: RFC 6962; `specs/journal-format.md`.
"""
