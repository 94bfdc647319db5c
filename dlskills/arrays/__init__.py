"""Arrays: backends and devices, flat parameter buffers, and random numbers."""
