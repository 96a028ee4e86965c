"""Components and their releases.

Owns what is known of a component, its releases and their versions. It touches
no target.
"""
