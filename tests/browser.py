"""Pages in headless chromium: what a script in them tells, and what the console gets."""

import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

# The least width of chromium's own window is more than a phone's.
AROUND = """<!DOCTYPE html><title>around</title><pre></pre>
<iframe src="%s" style="width: %dpx; height: 700px; border: 0"></iframe>
<script>
addEventListener("message", (event) => {
  document.querySelector("pre").textContent = JSON.stringify(event.data);
});
</script>"""


def told(address, folder, *, width=1200, reader="one"):
    """Open an address; return what its script posts to the page around it, and console lines.

    `reader` is whose choices chromium keeps.
    """
    path = folder / "around.html"
    path.write_text(AROUND % (address, width), encoding="utf-8")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--lang=en-US",
         f"--user-data-dir={folder / reader}", "--enable-logging=stderr",
         "--window-size=1300,900", "--virtual-time-budget=10000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    found = re.search(r"<pre>(.+?)</pre>", done.stdout, re.DOTALL)
    assert found, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console


def result_of(script, folder, page="<!DOCTYPE html>"):
    """Return the value of a JavaScript expression, evaluated at the end of a page."""
    path = folder / "page.html"
    script = f"<script>parent.postMessage({{ value: {script} }}, '*');</script>"
    text = page.replace("</body>", script + "</body>") if "</body>" in page else page + script
    path.write_text(text, encoding="utf-8")
    told_by_page, console = told(path.as_uri(), folder)
    assert console == []
    return told_by_page["value"]
