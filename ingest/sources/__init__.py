"""One reader per dataset layout, one interface for all."""
