"""Journal time, the deadlines that are set in it, and how long an upgrade may take."""
