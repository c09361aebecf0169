"""The ASGI application: HTTP by Django, websockets by Channels."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oxy.settings")
http = get_asgi_application()  # sets Django up: what follows may import models

from sessions_app.routing import websockets  # noqa: E402
from sessions_app.vault import crypto_check  # noqa: E402

crypto_check.verify_or_exit()

application = ProtocolTypeRouter({"http": http, "websocket": websockets()})
