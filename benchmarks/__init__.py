"""One script a figure. Each prints its table, writes the same as JSON where asked, and needs no internet."""

from __future__ import annotations
