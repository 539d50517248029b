# The self-hosted home. compose.yaml runs it as it is meant to run; docs/self-hosted.md says the rest.
FROM python:3.13-slim AS build

COPY requirements/server.txt /tmp/server.txt
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
        --requirement /tmp/server.txt

COPY functions/server.py /app/server.py
COPY functions/wordup /app/wordup
COPY functions/web /app/web
COPY knowledge /tmp/knowledge
# Indexed and compiled here, because nothing can be written where it runs.
RUN PYTHONPATH=/app /venv/bin/python -m wordup.index /tmp/knowledge /app/knowledge.db \
    && /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app /venv


FROM python:3.13-slim

# A number of its own, so that a volume's files belong to the same user after every rebuild.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin wordup \
    && install --directory --owner=wordup --group=wordup --mode=0700 /data

COPY --from=build /venv /venv
COPY --from=build /app /app

ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    WORDUP_DATA_DIR=/data

WORKDIR /app
USER 10001:10001
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]

CMD ["python", "server.py", "--host", "0.0.0.0", "--port", "8000"]
