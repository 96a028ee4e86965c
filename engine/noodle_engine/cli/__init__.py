"""The `noodle` command.

Owns arguments, output and exit codes. It holds no rule of an upgrade: it calls
the layers below and shows what they answer.
"""
