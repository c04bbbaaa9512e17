# Generated from _async by client/generate.py.
"""The client, its jobs and its collections."""
