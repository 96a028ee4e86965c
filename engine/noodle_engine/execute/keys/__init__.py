"""The keys of a home: where its master key is, and what is done with them."""
