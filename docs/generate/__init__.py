"""The parts of the site that come from the program; `hook.py` is what MkDocs calls."""
