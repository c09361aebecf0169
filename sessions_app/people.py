"""Who may do what: roles as Django groups, the permission that each command needs, and the sessions that a person may see.

A viewer looks. An operator also makes sessions, pairs, starts, stops and sends. An administrator does everything. The groups are made
by `migrate`; whoever runs an installation may change what they hold, and what is there is never changed back.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Q

from sessions_app.lifecycle import Command
from sessions_app.models import ApiToken, OwnerLimit, Webhook, WhatsAppSession

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from sessions_app.querysets import SessionQuerySet

VIEW = "sessions_app.view_whatsappsession"
ADD = "sessions_app.add_whatsappsession"
OPERATE = "sessions_app.change_whatsappsession"
DELETE = "sessions_app.delete_whatsappsession"
EXPORT = "sessions_app.export_whatsappsession"
SEE_WEBHOOKS, CHANGE_WEBHOOKS = "sessions_app.view_webhook", "sessions_app.change_webhook"
ADD_WEBHOOKS, DELETE_WEBHOOKS = "sessions_app.add_webhook", "sessions_app.delete_webhook"
SEE_TOKENS, ADD_TOKENS = "sessions_app.view_apitoken", "sessions_app.add_apitoken"
REVOKE_TOKENS = "sessions_app.change_apitoken"
#: To see how the installation is: of the rights to look, one that administrators alone hold.
EXAMINE = "sessions_app.view_vaultcheck"

VIEWER, OPERATOR, ADMINISTRATOR = "viewer", "operator", "administrator"


def permission_for(command: Command) -> str:
    """The permission that a person needs to give a command."""
    return DELETE if command is Command.DELETE else OPERATE


def may(user: Any, command: Command) -> bool:
    """Whether this person may give this command to a session that they can see."""
    return bool(user.has_perm(permission_for(command)))


def owners_of(user: Any) -> list[str] | None:
    """The owners whose sessions alone this person may see; None for everybody's. Superusers are never limited."""
    if user.is_superuser:
        return None
    limit = OwnerLimit.objects.filter(user=user).first()
    return limit.names if limit else None


def may_examine(user: Any) -> bool:
    """Whether this person may see how the installation is; the doctor names sessions of every owner."""
    return bool(user.has_perm(EXAMINE)) and owners_of(user) is None


def visible_to(user: Any) -> SessionQuerySet:
    """The sessions that this person may see."""
    owners = owners_of(user)
    rows = WhatsAppSession.objects.all()
    return rows if owners is None else rows.filter(owner__in=owners)


def tokens_of(user: Any) -> QuerySet[ApiToken]:
    """The API tokens that this person may see and revoke: those that reach no session which they may not see."""
    owners = owners_of(user)
    rows = ApiToken.objects.all()
    return rows if owners is None else rows.filter(owner__in=owners)


def webhooks_of(user: Any) -> QuerySet[Webhook]:
    """The webhooks that tell of nothing but sessions which this person may see."""
    rows = Webhook.objects.all()
    return rows if owners_of(user) is None else rows.filter(session__in=visible_to(user))


def make_groups(**_signal: Any) -> None:
    """Make the groups that are missing, with their permissions: after every `migrate`, when the permissions are there."""
    from django.contrib.auth.models import Group, Permission

    ours = Permission.objects.filter(content_type__app_label="sessions_app")
    looks = ours.filter(codename__startswith="view_").exclude(codename__in=["view_ownerlimit", "view_vaultcheck"])
    operates = ours.filter(codename__in=["add_whatsappsession", "change_whatsappsession"])
    people = Permission.objects.filter(content_type__app_label__in=["auth", "admin"])
    for name, held in (
        (VIEWER, [looks]),
        (OPERATOR, [looks, operates]),
        (ADMINISTRATOR, [ours, people]),
    ):
        group, made = Group.objects.get_or_create(name=name)
        if made:
            group.permissions.set({permission for rows in held for permission in rows})


def make_first_administrator(**_signal: Any) -> None:
    """The one of OXY_ADMIN_PASSWORD, after a `migrate`, where there is none yet: for whoever cannot type commands on the server."""
    from django.contrib.auth.models import User
    from django.contrib.auth.password_validation import validate_password

    password = settings.OXY_ADMIN_PASSWORD
    if not password or User.objects.filter(Q(is_superuser=True) | Q(username="admin")).exists():
        return
    try:
        validate_password(password)
    except ValidationError as error:
        sys.exit(f"oxy: OXY_ADMIN_PASSWORD cannot be used: {' '.join(error.messages)}")
    User.objects.create_superuser("admin", password=password)
