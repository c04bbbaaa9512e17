"""The client, its jobs and its collections."""
