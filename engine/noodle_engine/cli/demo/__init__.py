"""The demo: a real service, really upgraded, really killed in the middle.

Owns the story that `noodle demo` tells and the small programs in it. It speaks
to Noodle only as a person does, through the `noodle` command, and to the
service only by HTTP.
"""
