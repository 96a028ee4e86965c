"""How answers look: streams, colours, lines for people, shapes for programs."""
