"""The Celery worker: claims jobs, runs them, reports; and the upkeep that heals what workers leave behind."""
