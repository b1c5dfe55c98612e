"""Many cells."""
