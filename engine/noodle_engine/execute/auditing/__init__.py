"""What an auditor asks: proofs, exports, what was so then, and what changed since.

Owns the way from a home and words to the journal's own functions, and what of a record
may be read by whom. Reads only; needs no lock.
"""
