"""Numbered migrations of the catalog, run by Alembic; a migration is never edited once it is released."""
