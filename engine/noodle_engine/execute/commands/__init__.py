"""Running what a user wrote: commands of hooks and checks, and what becomes of them."""
