"""What a person and a monitor can see of a running engine: logs and checks.

It observes and changes nothing.
"""
