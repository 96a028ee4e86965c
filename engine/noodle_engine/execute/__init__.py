"""The driver: makes records durable, performs actions, feeds results back.

Owns resume, timers, retries and the resident engine. It decides nothing: the
machine does.
"""
