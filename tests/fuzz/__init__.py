"""Bytes from somebody else, into everything that reads stored or exported bytes of a journal."""
