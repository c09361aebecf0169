"""Django admin for people: accounts and groups as Django has them, and the owners whose sessions alone somebody may see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from sessions_app import people
from sessions_app.models import OwnerLimit

if TYPE_CHECKING:
    LimitInline = admin.StackedInline[OwnerLimit, User]
    BaseUserAdmin = UserAdmin[User]
else:
    LimitInline, BaseUserAdmin = admin.StackedInline, UserAdmin

#: Django's two boxes to shift names between are closed to screen readers: plain lists are not.
PLAIN: tuple[str, ...] = ()


class OwnerLimitInline(LimitInline):
    model = OwnerLimit
    max_num = 1
    verbose_name_plural = _("Sees only the sessions of these owners (superusers see all)")


admin.site.unregister([User, Group])


@admin.register(User)
class PersonAdmin(BaseUserAdmin):
    """Whoever is limited to owners may look at people, and change nobody: they could lift their own limit."""

    filter_horizontal = PLAIN
    readonly_fields = ("last_login", "date_joined")

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return (OwnerLimitInline,) if obj else ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and _is_unlimited(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _is_unlimited(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _is_unlimited(request)


@admin.register(Group)
class RoleAdmin(GroupAdmin):
    filter_horizontal = PLAIN


def _is_unlimited(request: HttpRequest) -> bool:
    return people.owners_of(request.user) is None
