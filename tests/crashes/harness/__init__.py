"""The crash harness: strike a real run at any call that changes the disk, and judge what is left.

A scenario says how to prepare, what to run, how to resume and what must hold;
`sweep` strikes it at every chosen point (kill, failing call, full disk, torn or
short write) and `power_sweep` cuts its power. See the README of this folder.
"""
