"""Looking at a directory before anything is changed."""
