"""Windows of a real Chromium, driven line by line: one JSON object in, one JSON object out.

Each window is a browser of its own: its cookies are nobody else's. Debian's Chromium is used, none
that is downloaded. Start at COMMANDS.
"""

import json
import sys

from playwright.sync_api import sync_playwright

WAIT_MS = 20_000
# What makes a browser one without it. One without silence may notify, and keeps what it did.
LACKS = {
    "silence": '''
        window.notified = [];
        window.Notification = class extends Notification {
          constructor(title, options) {
            super(title, options);
            window.notified.push([title, options.body]);
          }
        };
    ''',
    "streams": "delete window.EventSource",
    "is": "CSS.supports = text => !text.includes(':is')",
    "workers": "delete window.SharedWorker",
}
windows = {}
noise = {}


def opened(browser, name, url, address, width, height, language, without="", **_):
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale=language,
        java_script_enabled=without != "scripts",
        ignore_https_errors=True, permissions=["notifications"] if without == "silence" else None,
        extra_http_headers={"X-Forwarded-For": address} if address else {})
    return begun(context, name, url, without)


def tab(name, of, url, without="", **_):
    """Another tab of a window's browser."""
    return begun(windows[of].context, name, url, without)


def begun(context, name, url, without):
    page = context.new_page()
    if without in LACKS:
        page.add_init_script(LACKS[without])
    page.set_default_timeout(WAIT_MS)
    windows[name] = page
    noise[name] = []
    # What the page complains of, and whatever it asks of somebody else.
    page.on("pageerror", lambda error: noise[name].append(str(error)))
    page.on("console", lambda said: noise[name].append(said.text)
            if said.type == "error" and "Failed to load resource" not in said.text else None)
    page.on("request", lambda one: noise[name].append(one.url)
            if not one.url.startswith("/".join(url.split("/")[:3]) + "/") else None)
    page.on("dialog", lambda dialog: (noise[name].append(dialog.message), dialog.dismiss()))
    page.goto(url)
    return page.url


def overflow(page):
    """How many pixels stick out of the window to the right."""
    return page.evaluate("document.documentElement.scrollWidth - innerWidth")


COMMANDS = {
    "texts": lambda page, selector, **_: [
        text.strip() for text in page.locator(selector).all_inner_texts()],
    "await": lambda page, selector, **_: page.locator(selector).first.wait_for() or True,
    "await_gone": lambda page, selector, **_: page.locator(selector).first.wait_for(
        state="detached") or True,
    "click": lambda page, selector, **_: page.locator(selector).first.click() or page.url,
    "hover": lambda page, selector, **_: page.locator(selector).first.hover() or True,
    "fill": lambda page, selector, text, **_: page.fill(selector, text) or True,
    "press": lambda page, keys, **_: page.keyboard.press(keys) or page.url,
    "go": lambda page, url, **_: page.goto(url) and page.url,
    "reload": lambda page, **_: page.reload() and page.url,
    "evaluate": lambda page, script, **_: page.evaluate(script),
    "url": lambda page, **_: page.url,
    "title": lambda page, **_: page.title(),
    "offline": lambda page, off, **_: page.context.set_offline(off) or True,
    "picture": lambda page, path, **_: page.screenshot(path=path) and True,
    "overflow": lambda page, **_: overflow(page),
    "stored": lambda page, **_: page.evaluate(
        "[localStorage.length, sessionStorage.length, document.cookie]"),
    "size": lambda page, width, height, **_: page.set_viewport_size(
        {"width": width, "height": height}) or True,
}


def main():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                if asked["do"] == "open":
                    said = opened(browser, **asked)
                elif asked["do"] == "tab":
                    said = tab(**asked)
                elif asked["do"] == "noise":
                    said = noise[asked["name"]]
                else:
                    said = COMMANDS[asked["do"]](windows[asked["name"]], **asked)
                answer = {"said": said}
            except Exception as error:  # whatever it is, the test tells
                answer = {"error": str(error)}
            print(json.dumps(answer), flush=True)
        browser.close()


main()
