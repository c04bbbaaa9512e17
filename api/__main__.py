"""`python -m api`: serve the API at the address the settings name."""

import uvicorn

from jobs.settings import get_settings

settings = get_settings()
uvicorn.run("api.main:app", host=settings.host, port=settings.port, log_config=None, access_log=False)
