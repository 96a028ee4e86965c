"""Anchors: when signed heads leave this machine, and what follows where they cannot.

Owns the policy. Where they are kept, and what they say against the journal, is the
journal's own `anchors`.
"""
