"""The objects that are exchanged: plain trees, or links to trees."""
