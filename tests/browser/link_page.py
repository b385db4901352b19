"""The check page over an emulated link: link_page.py BASE WANTED. Writes what came of it as JSON. Run by greenroom-netlab's `page`, within the
link's own network."""

import json
import os
import sys

from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("GREENROOM_CHROMIUM", "/usr/bin/chromium")
BASE, WANTED = sys.argv[1:]
# As the element does it, without a person: the first verdict is noted as it comes.
CHECK = """async ([base, wanted]) => {
  const { check } = await import(`${base}/check/check.js`);
  let allowed = null;
  let early = null;
  const onprogress = ({ step, state }) => { if (step === 'permission' && state === 'done') allowed = performance.now(); };
  const onearly = ({ report }) => { early = { after_ms: performance.now() - allowed, report }; };
  const { report } = await check({ for: wanted, devices: ['microphone'], onprogress, onearly });
  return { early, report };
}"""


def main():
    # Pages with devices have to be secure, which an address of the link is not.
    args = ["--no-sandbox", "--webtransport-developer-mode", f"--unsafely-treat-insecure-origin-as-secure={BASE}"]
    args += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.goto(f"{BASE}/check")
        print(json.dumps(page.evaluate(CHECK, [BASE, WANTED])))
        browser.close()


main()
