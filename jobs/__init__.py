"""Shared by the API and the workers: requests, the job store, the object store, settings and errors."""
