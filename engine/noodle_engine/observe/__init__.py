"""What the engine tells of itself: logs, the audit log, profiles, bundles.

Nothing in here decides anything, and no upgrade waits for it: what cannot be told is lost,
and the journal holds the truth.
"""
