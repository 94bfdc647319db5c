"""The reference of the API: a page per public package, with every name of its ``__all__``."""

import functools
import importlib
import inspect
import pkgutil
import re
import types

import dlskills

FIRST = (  # where a name is documented that several packages export
    "dlskills.optimizers", "dlskills.optimizers.schedules", "dlskills.layers",
    "dlskills.initializers", "dlskills.networks", "dlskills.training", "dlskills.data",
    "dlskills.formulas", "dlskills.diagnostics", "dlskills.tuning", "dlskills.experiments",
)  # fmt: skip


@functools.cache
def packages():
    """Return the public packages: those with ``__all__``, dlskills itself at the end."""
    found = []
    for info in pkgutil.walk_packages(dlskills.__path__, "dlskills."):
        if info.ispkg and not any(part.startswith("_") for part in info.name.split(".")):
            try:
                module = importlib.import_module(info.name)
            except ImportError:  # of an optional library
                continue
            if hasattr(module, "__all__"):
                found.append(info.name)
    rest = [name for name in found if name not in FIRST]
    return [*(name for name in FIRST if name in found), *rest, "dlskills"]


@functools.cache
def places():
    """Return for each package which of its public names are documented on its page, and which
    elsewhere: name by name the path under which the page has it."""
    homes, seen = {}, {}
    for package in packages():
        module = importlib.import_module(package)
        names = homes.setdefault(package, {})
        for name in module.__all__:
            thing = getattr(module, name)
            key = (name, id(thing))
            names[name] = seen.setdefault(key, f"{package}.{name}")
    return homes


def page_of(package):
    return package.removeprefix("dlskills.") if package != "dlskills" else "top-level"


def anchor(path):
    """Return the anchor of a name, with the page that has it, relative to the pages' folder."""
    return f"{page_of(path.rpartition('.')[0])}.md#{path}"


def pages():
    """Return the Markdown of each page."""
    found = {}
    for package, names in places().items():
        module = importlib.import_module(package)
        own = [path for name, path in names.items() if path == f"{package}.{name}"]
        others = [path for name, path in names.items() if path != f"{package}.{name}"]
        if not own:
            continue
        lines = [f"# {package}", "", inspect.getdoc(module) or "", ""]
        if others:
            links = ", ".join(f"[{path.rpartition('.')[2]}]({anchor(path)})" for path in others)
            lines += [f"Also exported here: {links}.", ""]
        for path in own:
            lines += _directive(path)
        found[f"reference/api/{page_of(package)}.md"] = "\n".join(lines)
    return found


def _directive(path):
    package, _, name = path.rpartition(".")
    thing = getattr(importlib.import_module(package), name)
    if isinstance(thing, types.ModuleType):
        option = "members: false"
    elif isinstance(thing, type) and issubclass(thing, dlskills.Optimizer):
        option = "show_signature: false"  # made when the class is, so that sources don't show it
    else:
        return [f"::: {path}", ""]
    return [f"::: {path}", "    options:", f"      {option}", ""]


def index():
    """Return, as Markdown, tables of all public names with their first lines."""
    lines = []
    for package, names in places().items():
        lines += [f"### {package}", "", "| name | |", "| --- | --- |"]
        for name, path in names.items():
            thing = getattr(importlib.import_module(package), name)
            summary = _first_line(thing).replace("|", "\\|")
            lines.append(f"| [`{name}`](api/{anchor(path)}) | {summary} |")
        lines.append("")
    return "\n".join(lines)


def _first_line(thing):
    documented = inspect.isroutine(thing) or inspect.isclass(thing) or inspect.ismodule(thing)
    text = inspect.getdoc(thing) if documented else None
    text = text.split("\n\n")[0].replace("\n", " ") if text else ""
    return re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", text)
