"""What a database raises that cannot be used just now: what was to be stored is kept, and stored when it is back."""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError

#: The last is what PostgreSQL says where it takes no writes: a standby, in the moments of a failover.
DATABASE_AWAY = (OperationalError, InterfaceError, InternalError)
