"""What Noodle costs, measured beside what it could cost at least.

Owns the measurements and RESULTS.md. No part of the product imports it.
"""
