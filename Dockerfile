# The library's .so needs glibc 2.34 or newer: Debian 12 has it, Alpine and Debian 11 do not.
FROM python:3.11-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /packages
COPY requirements.txt ./
RUN python -m venv /opt/venv && /opt/venv/bin/pip install -r requirements.txt

FROM python:3.11-slim-bookworm
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# What lies here is root's; the process writes to data (live stores) and var (SQLite, where no DATABASE_URL is set) alone.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin oxy \
 && install -d -o oxy -g oxy -m 700 /app/data /app/var
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY . ./
RUN python -m compileall -q oxy sessions_app simulator \
 && DEBUG=1 python manage.py collectstatic --noinput
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
 CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT') or 8000}/healthz\", timeout=4)"]
# Web and worker in one; compose.yaml starts them one by one. The exec form, so that SIGTERM reaches Python.
CMD ["python", "manage.py", "serve", "--migrate"]
