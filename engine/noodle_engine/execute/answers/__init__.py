"""What callers see: the shapes of answers, how they are found, and their words."""
