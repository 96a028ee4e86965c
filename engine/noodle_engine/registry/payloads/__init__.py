"""Payloads of releases: plain files and trees.

Owns what may be a payload, how one comes into the registry, and how it is held
against what was signed of it. It knows no folder of the registry but those it
is told.
"""
