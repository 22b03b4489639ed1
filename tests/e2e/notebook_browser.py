#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A person with a browser, for tests: opens a notebook's URL in a real one and runs Hello World.

usage: notebook_browser.py URL [SCREENSHOT.png]

Drives Debian's Chromium, without a window, by chromedriver and the WebDriver protocol (www.w3.org/TR/webdriver2): what is
clicked is what a person would click. PATIENCE is how many seconds each step may take.
"""
import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

PATIENCE = float(os.environ.get("PATIENCE", "300"))
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # webdriver2, 11. Elements
# How many different colours an image has on a grid of a hundred points each way: a plot has some, an empty page one.
COLOURS = """
const image = arguments[0], canvas = document.createElement('canvas');
canvas.width = canvas.height = 100;
const at = canvas.getContext('2d');
at.drawImage(image, 0, 0, 100, 100);
const data = new Uint32Array(at.getImageData(0, 0, 100, 100).data.buffer);
return [image.naturalWidth, image.naturalHeight, new Set(data).size];
"""


class Browser:
    def __init__(self, folder):
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        for line in self.driver.stdout:
            started = re.search(r"successfully on port (\d+)", line)
            if started:
                break
        else:
            raise RuntimeError("chromedriver did not start")
        self.base = f"http://127.0.0.1:{started[1]}/session"
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
                 "--disable-sync", "--window-size=1200,1000", "--user-data-dir=" + folder]
        wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": words},
                  "timeouts": {"pageLoad": int(PATIENCE * 1000), "script": 60000}}
        self.base += "/" + self.ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE + 60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise LookupError(value["error"] + ": " + value["message"].partition("\n")[0]) from None

    def find(self, how, what):
        return self.ask("POST", "/element", {"using": how, "value": what})

    def all(self, css):
        return self.ask("POST", "/elements", {"using": "css selector", "value": css})

    def click(self, how, what):
        self.ask("POST", f"/element/{self.find(how, what)[ELEMENT]}/click", {})

    def run(self, script, *args):
        return self.ask("POST", "/execute/sync", {"script": script, "args": args})

    def quit(self):
        try:
            self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()


def patiently(what, attempt):
    """Until @attempt gives something: pages grow while one looks at them."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            found = attempt()
            why = "it is not there"
        except LookupError as error:
            found, why = None, str(error)
        if found:
            print(f"ok {what}", flush=True)
            return found
        if time.monotonic() > end:
            raise SystemExit(f"FAILED {what}: {why}")
        time.sleep(0.5)


def did(action, *args):
    action(*args)
    return True


def idle_kernel(browser):
    """On a slow machine the page gives up on a kernel that takes minutes to start, and says so; a person loads it again."""
    if any("Connection failed" in text for text in browser.run(
            "return Array.from(document.querySelectorAll('.modal-dialog .modal-title')).map(e => e.textContent)")):
        print("the page has given up on the kernel, and is loaded again", flush=True)
        browser.ask("POST", "/refresh", {})
        try:
            browser.ask("POST", "/alert/accept", {})  # whether to leave the page
        except LookupError:
            pass
    return browser.find("css selector", "#kernel_indicator_icon.kernel_idle_icon")


def visit(browser, url):
    browser.ask("POST", "/url", {"url": url})
    patiently("the list of notebooks", lambda: did(browser.find, "link text", "Hello World.ipynb"))
    if "token" in browser.ask("GET", "/url"):
        raise SystemExit("FAILED the token stays in the address")
    browser.click("link text", "Hello World.ipynb")
    patiently("a window with the notebook", lambda: len(browser.ask("GET", "/window/handles")) == 2)
    browser.ask("POST", "/window", {"handle": browser.ask("GET", "/window/handles")[1]})
    patiently("an idle kernel", lambda: idle_kernel(browser))
    patiently("the menu Cell", lambda: did(browser.click, "link text", "Cell"))
    patiently("Run All", lambda: did(browser.click, "css selector", "#run_all_cells a"))
    image = patiently("a plot", lambda: browser.all("div.output img"))[0]
    width, height, colours = browser.run(COLOURS, image)
    print(f"the plot has {width} x {height} points, and {colours} colours where one looks")
    if width < 200 or height < 150 or colours < 3:
        raise SystemExit("FAILED the plot is empty")
    text = patiently("versions", lambda: browser.run(
        "return Array.from(document.querySelectorAll('div.output_text pre')).map(e => e.textContent).join('\\n')"))
    if not re.search(r"^Python 3\.\d+", text, re.MULTILINE) or "MiB of memory" not in text:
        raise SystemExit("FAILED versions and memory are not shown:\n" + text)
    print(text)


def main():
    with tempfile.TemporaryDirectory() as folder:
        browser = Browser(folder)
        try:
            visit(browser, sys.argv[1])
        finally:
            if len(sys.argv) > 2:
                with open(sys.argv[2], "wb") as file:
                    file.write(base64.b64decode(browser.ask("GET", "/screenshot")))
            browser.quit()


main()
