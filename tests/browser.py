"""Pages in headless chromium: what a script in them tells, what keys do, what the console gets."""

import contextlib
import fcntl
import html
import json
import os
import re
import shutil
import subprocess
import sys
import threading

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


KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}

# Chromium reads and writes its protocol at these two file descriptors.
START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """A page in chromium that takes keys as from a keyboard.

    Attributes
    ----------
    console : list of str
        Messages of the console, and errors that no script caught.
    """

    def __init__(self, send, receive):
        self._send, self._receive = send, receive
        self._count, self._session = 0, None
        self._loaded = False
        self.console = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.command(f"{domain}.enable")
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)

    def command(self, method, **params):
        """Send a command of the DevTools protocol and return its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        self._send.flush()
        while (answer := self._read()).get("id") != self._count:
            pass
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _read(self):
        text = bytearray()
        while (sign := self._receive.read(1)) != b"\0":
            assert sign, "chromium has ended"
            text += sign
        message = json.loads(text)
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.console.append(json.dumps(message["params"]))
        return message

    def open(self, address, *, width=1200):
        """Open an address and wait until it is loaded."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=800,
                     deviceScaleFactor=1, mobile=False)  # fmt: skip
        self._loaded = False
        self.command("Page.navigate", url=address)
        while not self._loaded:
            self._read()

    def value(self, script):
        """Return the value of a JavaScript expression."""
        done = self.command("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def press(self, key, times=1):
        """Press a key where the focus is."""
        known = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        for _ in range(times):
            self.command("Input.dispatchKeyEvent", type="rawKeyDown", **known)
            self.command("Input.dispatchKeyEvent", type="keyUp", **known)


@contextlib.contextmanager
def opened(folder):
    """Give a :class:`Page` in a chromium of its own, which ends with the block."""
    (reads, send), (receive, writes) = os.pipe(), os.pipe()
    # above 9, so that neither is 3 or 4
    given = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (reads, writes)]
    process = subprocess.Popen(
        [sys.executable, "-c", START, *map(str, given), CHROMIUM, "--headless", "--no-sandbox",
         "--disable-gpu", "--lang=en-US", f"--user-data-dir={folder / 'profile'}",
         "--remote-debugging-pipe"],
        pass_fds=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for end in (reads, writes, *given):
        os.close(end)
    limit = threading.Timer(60, process.kill)
    limit.start()
    try:
        with os.fdopen(send, "wb") as sends, os.fdopen(receive, "rb") as receives:
            page = Page(sends, receives)
            yield page
            with contextlib.suppress(AssertionError):
                page._session = None
                page.command("Browser.close")
    finally:
        limit.cancel()
        process.kill()
        process.wait()
