"""The Celery worker, which claims and runs jobs, and the upkeep process."""
