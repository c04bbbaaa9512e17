# The API and upkeep: no torch, no weights. Build from the repository root:
#   docker build --file docker/api.Dockerfile --tag atelier-api .
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY api ./api
COPY cards ./cards
COPY images ./images
COPY jobs ./jobs
COPY models ./models
COPY worker ./worker
RUN pip install --constraint requirements.lock '.[api,otel]'

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home atelier
COPY --from=build /opt/venv /opt/venv
# Uploads on their way, up to four times ATELIER_MAX_ARCHIVE_BYTES: mount a volume here where the root is read-only.
RUN install --directory --owner 10001 --group 10001 /var/spool/atelier
COPY docker/health.py /opt/atelier/health.py
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ATELIER_HOST=0.0.0.0 ATELIER_PORT=8000 \
    ATELIER_SPOOL_DIR=/var/spool/atelier
WORKDIR /home/atelier
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
CMD ["python", "-m", "api"]
