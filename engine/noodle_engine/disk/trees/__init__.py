"""Trees of files: what one holds, reading it, writing it, removing it.

Owns the manifest of a tree (pure), and the primitives that read and write
trees. It knows no target and no release.
"""
