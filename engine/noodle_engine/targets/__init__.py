"""What can be upgraded: one module for each kind of target.

A kind is found by its entry point in the group `noodle.targets`; a kind that
comes with Noodle uses the same door as a third party's.
"""
