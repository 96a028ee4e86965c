"""The reference pages that are made from the code: errors, commands, JSON shapes.

`python -m noodle_engine.cli.pages FOLDER` writes them. A test holds the pages
in docs/reference to what the code says.
"""
