"""A home: its layout, opening it, holding it, its socket, and its doctor."""
