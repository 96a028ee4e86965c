"""`noodle config`: what the settings are, why, and their files. Needs neither home nor key."""
