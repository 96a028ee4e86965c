"""The files of a journal: SQLite connections, rows, keys at rest, the reserve.

Owns every file operation of this package. Never derives a key and never
decides whether a record is sound.
"""
