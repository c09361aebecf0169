"""Settings of Oxy, from the environment; the names are the contract of `docs/architecture.md`.

A setting that cannot be used ends the process with one sentence, before anything else has started.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, NoReturn

import environ
from django.utils.translation import gettext_lazy as _

from oxy.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = environ.Env()
environ.Env.read_env(str(BASE_DIR / ".env")) if (BASE_DIR / ".env").exists() else None
environ.Env.read_env(str(VAR_DIR / "local.env")) if (VAR_DIR / "local.env").exists() else None


#: A network that falls silent must not hold a beat or a write for longer than a lease lasts; libpq's own patience is minutes.
DATABASE_PATIENCE = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def refuse(sentence: str) -> NoReturn:
    """End the process with a sentence on standard error and status 1."""
    sys.exit(f"oxy: {sentence}")


def read_number(name: str, *, default: int) -> int:
    try:
        return int(env.str(name, default="") or default)
    except ValueError:
        refuse(f"{name} must be a whole number.")


def read_database() -> dict[str, Any]:
    """The default database: DATABASE_URL, or SQLite under var/ (options measured in docs/architecture.md)."""
    VAR_DIR.mkdir(mode=0o700, exist_ok=True)
    url = env.str("DATABASE_URL", default="") or f"sqlite:///{VAR_DIR / 'oxy.sqlite3'}"
    if not url.startswith(("postgres://", "postgresql://", "sqlite:///")):
        refuse(
            "DATABASE_URL cannot be used. It looks like postgres://user:password@host:5432/name, or sqlite:////path/file."
        )
    try:
        config: dict[str, Any] = environ.Env.db_url_config(url)
    except (ValueError, environ.ImproperlyConfigured):
        refuse("DATABASE_URL cannot be read. It looks like postgres://user:password@host:5432/name.")
    if config["ENGINE"].endswith("sqlite3"):
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
        }
    else:
        config["CONN_HEALTH_CHECKS"] = True
        config["OPTIONS"] = {**DATABASE_PATIENCE, **config.get("OPTIONS", {})}
    config["CONN_MAX_AGE"] = 60
    return config


# --- the process -------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="only-for-debug" if DEBUG else "")
if not SECRET_KEY:
    refuse("SECRET_KEY is not set. Set it to a long random text, or start with `make run`, which makes one.")
# The name that Railway or Render has given the service, where no other is set.
GIVEN_HOSTS = [
    name
    for variable in ("RAILWAY_PUBLIC_DOMAIN", "RENDER_EXTERNAL_HOSTNAME")
    if (name := env.str(variable, default=""))
]
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[*GIVEN_HOSTS, "localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = [f"https://{host.lstrip('.')}" for host in ALLOWED_HOSTS if host != "*"]
PORT = read_number("PORT", default=8000)

#: The password of the first administrator, `admin`, whom `migrate` makes where there is none yet; "" makes nobody.
OXY_ADMIN_PASSWORD = env.str("OXY_ADMIN_PASSWORD", default="")

# --- e-mail ------------------------------------------------------------------

EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = "localhost", 25, "", ""
EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
try:
    vars().update(env.email_url("EMAIL_URL", default="smtp://localhost:25"))
except (ValueError, KeyError, environ.ImproperlyConfigured):
    refuse("EMAIL_URL cannot be read. It looks like smtp+tls://user:password@host:587.")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("OXY_EMAIL_FROM", default="oxy@localhost")

# --- sessions ----------------------------------------------------------------

OXY_ENCRYPTION_KEYS = env.list("OXY_ENCRYPTION_KEYS", default=[])
if not OXY_ENCRYPTION_KEYS:
    if not DEBUG:
        refuse(
            "OXY_ENCRYPTION_KEYS is not set. Stored sessions are encrypted with it: set the key that was used before, "
            "or, for a new installation, one that `python manage.py generate_key` prints (with DEBUG=1)."
        )
    OXY_ENCRYPTION_KEYS = ["b25seS1mb3ItZGVidWctbmV2ZXItaW4tcHJvZHVjdCE="]
WHATSAPP_SESSION_PATH = env.str("WHATSAPP_SESSION_PATH", default="") or env.str("AUTH_DIR", default="")
OXY_HOST_CAPACITY = read_number("OXY_HOST_CAPACITY", default=300)
OXY_ENGINE_CAPACITY = read_number("OXY_ENGINE_CAPACITY", default=50)
# Messages of one session that may wait to be sent, and requests a minute that a token may make (0: any number).
OXY_QUEUE_LIMIT = read_number("OXY_QUEUE_LIMIT", default=1000)
OXY_RATE_LIMIT = read_number("OXY_RATE_LIMIT", default=600)
# Bytes of the largest file that is sent, and of all files of one session that may wait to be sent.
OXY_FILE_LIMIT = read_number("OXY_FILE_LIMIT_MB", default=16) * 1024 * 1024
OXY_FILES_LIMIT = read_number("OXY_FILES_LIMIT_MB", default=256) * 1024 * 1024
# Days that messages and the timeline are kept, and that a session may go without ever being linked (0: for ever).
MESSAGE_RETENTION_DAYS = read_number("MESSAGE_RETENTION_DAYS", default=90)
OXY_EVENT_RETENTION_DAYS = read_number("OXY_EVENT_RETENTION_DAYS", default=90)
OXY_NEVER_PAIRED_DAYS = read_number("OXY_NEVER_PAIRED_DAYS", default=30)
#: What Prometheus has to send as its bearer token; "" leaves `/metrics` to API tokens with the scope `read`.
OXY_METRICS_TOKEN = env.str("OXY_METRICS_TOKEN", default="")
# Whom `alerts.py` tells: addresses for e-mail (sent by EMAIL_URL), and a web address that takes JSON.
OXY_ALERT_EMAILS = env.list("OXY_ALERT_EMAILS", default=[])
OXY_ALERT_WEBHOOK = env.str("OXY_ALERT_WEBHOOK", default="")
OXY_ALERT_DOWN_MINUTES = read_number("OXY_ALERT_DOWN_MINUTES", default=10)
#: Days that an encryption key is to be in use (0: for ever); alerts remind of it before.
OXY_KEY_DAYS = read_number("OXY_KEY_DAYS", default=365)
#: Whether webhooks may go to private networks and to this machine itself.
OXY_WEBHOOK_ALLOW_PRIVATE = env.bool("OXY_WEBHOOK_ALLOW_PRIVATE", default=False)
OXY_SIMULATOR = env.bool("OXY_SIMULATOR", default=False)
OXY_SIMULATOR_ROOT = env.str("OXY_SIMULATOR_ROOT", default="") if OXY_SIMULATOR else ""
OXY_SIMULATOR_CONTROL = env.str("OXY_SIMULATOR_CONTROL", default="") if OXY_SIMULATOR else ""

# --- Django ------------------------------------------------------------------

ROOT_URLCONF = "oxy.urls"
ASGI_APPLICATION = "oxy.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": read_database()}
REDIS_URL = env.str("REDIS_URL", default="")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
    if REDIS_URL
    else {"BACKEND": "sessions_app.channel_layer.DatabaseChannelLayer"}
}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
    "django_q",
    "ninja",
    "sessions_app",
]
MIDDLEWARE = [
    "sessions_app.health.Health",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "sessions_app.api.errors.JsonErrors",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "sessions_app.languages.PageLanguage",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "sessions_app.context.console",
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "oxy-login"
LOGIN_REDIRECT_URL = "oxy-sessions"
LOGOUT_REDIRECT_URL = "oxy-login"

# Each by its own name, for whoever reads no other.
LANGUAGES = [("en", "English"), ("pt-br", "Português")]
#: For whoever has chosen none and whose browser asks for none of these, and for what is sent to nobody in particular.
LANGUAGE_CODE = env.str("OXY_LANGUAGE", default="").lower().replace("_", "-") or "en"
if LANGUAGE_CODE not in dict(LANGUAGES):
    refuse(f"OXY_LANGUAGE must be one of: {', '.join(dict(LANGUAGES))}.")
LOCALE_PATHS = [BASE_DIR / "locale"]
LANGUAGE_COOKIE_AGE = 365 * 86_400
LANGUAGE_COOKIE_HTTPONLY, LANGUAGE_COOKIE_SAMESITE = True, "Lax"
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "staticfiles"
# Without a collectstatic run (a fresh clone, a test) files are served from where they lie. WhiteNoise wants the folder all the same.
with contextlib.suppress(OSError):
    STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = not any(STATIC_ROOT.glob("*"))

# --- security ----------------------------------------------------------------

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
BEHIND_HTTPS = env.bool("BEHIND_HTTPS", default=bool({"RAILWAY_ENVIRONMENT", "RENDER"} & set(env.ENVIRON)))
#: How many proxies of ours stand before the web process, each of which adds to X-Forwarded-For: who is throttled at signing in.
OXY_TRUSTED_PROXIES = read_number("OXY_TRUSTED_PROXIES", default=1 if BEHIND_HTTPS else 0)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = BEHIND_HTTPS
SECURE_SSL_REDIRECT = False  # the platform's edge redirects; its health check speaks plain HTTP
SECURE_HSTS_SECONDS = 31_536_000 if BEHIND_HTTPS else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # other names under the owner's domain are not ours to decide on
    "security.W008",  # see SECURE_SSL_REDIRECT
    "security.W021",  # nor is whether browsers learn the domain by heart
]
SECURE_REFERRER_POLICY = "same-origin"
# The simulated phone is a page on another port, and takes the QR code from the console's page that opened it.
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin-allow-popups" if OXY_SIMULATOR else "same-origin"
X_FRAME_OPTIONS = "DENY"
# A message with a file in base64; what other addresses take: sessions_app/api/app.py.
DATA_UPLOAD_MAX_MEMORY_SIZE = max(8 * 1024 * 1024, OXY_FILE_LIMIT * 4 // 3 + 512 * 1024)
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    },
}

# --- the worker --------------------------------------------------------------

Q_CLUSTER = {
    "name": "oxy",
    "orm": "default",
    "workers": read_number("OXY_WORKERS", default=3),
    "poll": 0.5,
    # A short task is done within a minute; the one long task overrides this with timeout=-1. `retry` must exceed every
    # timeout, else a second copy starts (docs/architecture.md, "The queue").
    "timeout": 60,
    "retry": 90,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "save_limit": 100,
    "label": _("Background tasks"),
}

OXY_LOG_FORMAT = env.str("OXY_LOG_FORMAT", default="text")
if OXY_LOG_FORMAT not in ("text", "json"):
    refuse("OXY_LOG_FORMAT must be text or json.")
LOGGING = logging_config(debug=DEBUG, form=OXY_LOG_FORMAT)
