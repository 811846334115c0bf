"""A model leaves the project: its files, what is recorded of it (origin), its card; to the hub or to a file."""
