FROM python:3.12-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /srv/muster
COPY requirements/base.txt requirements/build.txt requirements/
RUN python -m venv /srv/venv \
    && /srv/venv/bin/pip install --require-hashes --requirement requirements/base.txt \
    && /srv/venv/bin/pip install --require-hashes --requirement requirements/build.txt --target /srv/backend
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY app app
COPY worker worker
COPY alembic alembic
COPY models models
COPY client client
COPY demo/photos demo/photos
# Installed in place: migrations and models are found beside the code. The build backend stays behind.
RUN PYTHONPATH=/srv/backend /srv/venv/bin/pip install --no-deps --no-build-isolation --editable . --editable client \
    && /srv/venv/bin/python -m compileall -q core app worker client

FROM python:3.12-slim
RUN groupadd --gid 10001 muster \
    && useradd --uid 10001 --no-create-home --gid muster --home-dir /var/lib/muster --shell /usr/sbin/nologin muster \
    && install --directory --owner muster --group muster /var/lib/muster /var/lib/muster/media
COPY --from=builder /srv/venv /srv/venv
COPY --from=builder /srv/muster /srv/muster
ENV PATH="/srv/venv/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MUSTER_MEDIA_DIR=/var/lib/muster/media \
    HEALTH_URL=http://127.0.0.1:8000/livez
WORKDIR /var/lib/muster
USER 10001:10001
VOLUME /var/lib/muster
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(os.environ['HEALTH_URL'], timeout=4)"]
ENTRYPOINT ["muster"]
CMD ["web", "--host", "0.0.0.0", "--port", "8000"]
