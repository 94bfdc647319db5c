"""Arrays: which library and device they belong to, what they share, and random ones."""
