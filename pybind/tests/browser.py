# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium that tests drive over its debugging pipe; it gets no network."""
import base64
import fcntl
import json
import os
import pathlib
import subprocess
import tempfile

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars", "--proxy-server=127.0.0.1:9",
         "--remote-debugging-pipe")


class BrowserError(Exception):
    """The browser, or the page in it, failed."""


class Browser:
    """One page; use it as a context manager."""

    def __init__(self, width: int = 1400, height: int = 1000):
        # Processes of the browser may still write there when it is cleaned up.
        self._folder = tempfile.TemporaryDirectory(prefix="blockstep-browser-",
                                                   ignore_cleanup_errors=True)
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        # The browser reads commands from its descriptor 3 and writes answers to 4; the shell puts
        # them there, from numbers that are out of the way.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, from_write)]
        os.close(to_read)
        os.close(from_write)
        self._process = subprocess.Popen(
            ["bash", "-c", 'in=$1 out=$2; shift 2; exec "$@" 3<&$in 4>&$out',
             "bash", *map(str, theirs), "chromium", *FLAGS, f"--window-size={width},{height}",
             f"--user-data-dir={self._folder.name}", "about:blank"],
            pass_fds=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in theirs:
            os.close(end)
        self._commands = os.fdopen(to_write, "wb", buffering=0)
        self._answers = os.fdopen(from_read, "rb")
        self._number = 0
        self.requests: list[str] = []  # every address that the page asked for
        self.errors: list[str] = []    # what scripts threw and the console complained of
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page["targetId"],
                                   flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    _session = None

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._process.kill()
        self._process.wait()
        self._commands.close()
        self._answers.close()
        self._folder.cleanup()

    def _call(self, method: str, **params) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self) -> dict:
        text = bytearray()
        while not text.endswith(b"\0"):
            byte = self._answers.read(1)
            if not byte:
                raise BrowserError("the browser ended")
            text += byte
        message = json.loads(text[:-1])
        params = message.get("params", {})
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded":
            self.errors.append(params["entry"]["text"])
        return message

    def open(self, path: pathlib.Path, hash: str = "") -> None:
        """Opens a report and waits until it has drawn itself."""
        # By way of a blank page: a new hash alone would not load it again.
        self._call("Page.navigate", url="about:blank")
        self._call("Page.navigate", url=path.resolve().as_uri() + hash)
        self.evaluate("""new Promise(done => {
            const look = () => document.getElementById("main")?.ariaBusy === "false"
                ? requestAnimationFrame(() => done(true)) : setTimeout(look, 20);
            look();
        })""")

    def evaluate(self, expression: str):
        """The value of a JavaScript expression; promises are awaited."""
        result = self._call("Runtime.evaluate", expression=expression, awaitPromise=True,
                            returnByValue=True)
        if "exceptionDetails" in result:
            raise BrowserError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def texts(self, selector: str) -> list[str]:
        return self.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})]"
                             ".map(one => one.textContent)")

    def press(self, *keys: str) -> None:
        """Keys as a user presses them; one character is typed."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            self._call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self._call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                       clickCount=1)

    def dark(self, on: bool) -> None:
        """What the system prefers."""
        self._call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if on else "light"}])

    def screenshot(self, path: pathlib.Path) -> None:
        shot = self._call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))
