"""A headless Chromium, driven by the WebDriver protocol (w3.org/TR/webdriver2): JSON over HTTP on this machine's loopback.

The protocol is small enough for the standard library, so the tests need no client package.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import struct
import subprocess
import time
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_S = 60
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element in an answer (WebDriver, "web element identifier")."""
SHIFT = "\ue008"
"""WebDriver's code point of the key."""
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


class Browser:
    """One window. What it shows is a file of the test's."""

    def __init__(self, port: int, folder: Path, width: int, height: int) -> None:
        """Connect to a chromedriver; the browser's own files go to the folder."""
        self._root = f"http://127.0.0.1:{port}/session"
        arguments = [*ARGUMENTS, f"--user-data-dir={folder}", f"--window-size={width},{height}"]
        wanted = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}
        self._root += "/" + self._post("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def open(self, file: Path) -> None:
        """Show a file, and return when it is loaded."""
        self._post("/url", {"url": file.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """The result of a function body in the page."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str, *, shift: bool = False) -> None:
        """Press and release the mouse where a user would: in the middle of what a CSS selector finds."""
        place = self.run(
            "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [Math.round(r.x + r.width / 2), Math.round(r.y + Math.min(r.height / 2, 8))];",
            selector,
        )
        moves = [
            {"type": "pointerMove", "duration": 0, "x": place[0], "y": place[1]},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        keys = [{"type": "keyDown", "value": SHIFT}, *[{"type": "pause"}] * 2] if shift else []
        actions = [{"type": "pointer", "id": "mouse", "actions": [*([{"type": "pause"}] if shift else []), *moves]}]
        self._post("/actions", {"actions": [*([{"type": "key", "id": "keys", "actions": keys}] if shift else []), *actions]})
        self._request("DELETE", "/actions")

    def type(self, selector: str, text: str) -> None:
        """Type into what a CSS selector finds."""
        found = self._post("/element", {"using": "css selector", "value": selector})[ELEMENT]
        self._post(f"/element/{found}/value", {"text": text})

    def text(self, selector: str) -> str:
        """What a user reads there."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def errors(self) -> list[str]:
        """What the page has complained about since the last call."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._request("GET", "/screenshot"))

    def close(self) -> None:
        """End it."""
        self._request("DELETE", "")

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._request("POST", path, body)

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=START_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@contextmanager
def open_browser(folder: Path, width: int = 1400, height: int = 900) -> Iterator[Browser]:
    """A browser with a window of that size in pixels; both processes end with the block."""
    folder.mkdir(exist_ok=True)
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        browser = Browser(_read_port(driver), folder / "profile", width, height)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(10)
        assert driver.stdout is not None
        driver.stdout.close()


def _read_port(driver: subprocess.Popen[bytes]) -> int:
    """The port that it has chosen, which it prints."""
    assert driver.stdout is not None
    deadline, said = time.monotonic() + START_S, b""
    while time.monotonic() < deadline and select.select([driver.stdout], [], [], START_S)[0]:
        block = os.read(driver.stdout.fileno(), 4096)  # a buffered read would hide lines from select(2)
        said += block
        if found := re.search(rb"started successfully on port (\d+)", said):
            return int(found[1])
        if not block:
            break
    raise AssertionError(f"chromedriver did not start: {said.decode()}")


def count_colours(png: bytes) -> dict[bytes, int]:
    """How many pixels of each colour a PNG of 8 bits per channel has (RFC 2083, section 6: the filters of its lines)."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert depth == 8
    size = {2: 3, 6: 4}[kind]
    chunks, place = b"", 8
    while place < len(png):
        length, name = struct.unpack(">I4s", png[place : place + 8])
        chunks += png[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        place += 12 + length
    data, before, colours = zlib.decompress(chunks), bytearray(width * size), dict[bytes, int]()
    for row in range(height):
        start = row * (width * size + 1)
        before = _unfilter(data[start], bytearray(data[start + 1 : start + 1 + width * size]), before, size)
        for x in range(0, width * size, size):
            pixel = bytes(before[x : x + 3])
            colours[pixel] = colours.get(pixel, 0) + 1
    return colours


def _unfilter(kind: int, line: bytearray, above: bytearray, size: int) -> bytearray:
    for x in range(len(line)):
        left, up = line[x - size] if x >= size else 0, above[x]
        corner = above[x - size] if x >= size else 0
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda value: abs(guess - value))
        line[x] = (line[x] + (0, left, up, (left + up) // 2, nearest)[kind]) & 0xFF
    return line
