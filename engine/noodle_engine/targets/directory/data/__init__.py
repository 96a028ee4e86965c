"""The data of a program: paths of a tree that outlast every release.

Owns where it begins and how it comes from one tree into the next.

    outside   in `.noodle/NAME/data`, a link to it in each tree: copied from the release
              once, where nothing is yet; no later release and no way back touches it
    inside    its writers are stopped for the exchange, and it is carried
"""
