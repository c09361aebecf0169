"""Settings of the test run: keys of its own, and no variable of the person who runs it.

pytest-django reads the settings before any conftest, so this is where the environment is put right.
"""

from __future__ import annotations

import os

for name in (
    "DATABASE_URL",
    "REDIS_URL",
    "OXY_SIMULATOR",
    "OXY_SIMULATOR_ROOT",
    "WHATSAPP_SESSION_PATH",
    "AUTH_DIR",
    "HTTPS_PROXY",
    "SSL_CERT_FILE",
    "DEBUG",
    "PORT",
    "OXY_LANGUAGE",
    "OXY_WORKERS",
    "OXY_SIMULATOR_CONTROL",
    "OXY_ADMIN_PASSWORD",
    "RAILWAY_PUBLIC_DOMAIN",
    "RENDER_EXTERNAL_HOSTNAME",
):
    os.environ.pop(name, None)
os.environ["SECRET_KEY"] = "tests-only"
os.environ["OXY_ENCRYPTION_KEYS"] = "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk="
if url := os.environ.get("OXY_TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = url
# What a test starts uses the product's own settings.
os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"

from oxy.settings import *  # noqa: E402, F403
