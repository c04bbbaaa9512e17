"""Every record that Redis holds: jobs, uploads, trained models, collections and heartbeats.

`jobs.JobStore` is the way in. It reads records directly and changes them by commands, each an atomic Lua script
(`protocol.py`, `lua/`).
"""
