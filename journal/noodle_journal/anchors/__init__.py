"""Anchors: signed heads kept where whoever writes this machine's files cannot change them.

Owns the sinks, the bound on each of them, and what one says against the journal. When a
head is sent, and what follows from a sink that cannot be reached, is not decided here.
"""
