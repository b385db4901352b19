"""Signing in by a real provider in a real browser. Arguments: the dashboard's address, the file with the first admin's link, a folder for
screenshots."""

import sys

from playwright.sync_api import expect, sync_playwright

from looks import Looks

BASE, LINK, SHOTS = sys.argv[1:4]
looks_right = Looks(SHOTS)


def sign_in(page, name):
    page.goto(f"{BASE}/fleet")
    page.get_by_role("link", name="Sign in with Example ID").click()
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any")
    page.get_by_role("button").first.click()
    page.wait_for_load_state()
    if "/interaction/" in page.url:
        page.get_by_role("button", name="Continue").click()


def provider(browser):
    context = browser.new_context()
    page = context.new_page()
    refused = []
    # The provider's own pages are not ours.
    page.on("console", lambda line: refused.append(line.text) if "Security Policy" in line.text and page.url.startswith(BASE) else None)
    page.goto(f"{BASE}/login")
    looks_right(page, "login")
    sign_in(page, "grace+x+helpdesk")
    expect(page).to_have_url(f"{BASE}/fleet")
    expect(page.locator(".who")).to_contain_text("grace")
    assert page.goto(f"{BASE}/users").status == 403
    page.goto(f"{BASE}/account")
    expect(page.locator("main")).to_contain_text("You sign in by a provider")
    looks_right(page, "account-provider")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{BASE}/login?out=1")
    looks_right(page, "login-out")
    page.get_by_role("link", name="Sign out of Example ID, too").click()
    assert "/session/end" in page.url, page.url
    context.close()

    context = browser.new_context()
    page = context.new_page()
    sign_in(page, "mallory+strangers")
    expect(page.locator("main")).to_contain_text("none of your groups may come in")
    looks_right(page, "login-refused")
    page.goto(f"{BASE}/fleet")
    assert "/login" in page.url, page.url
    context.close()
    assert not refused, refused


def admin(browser):
    """The pages of the admin that are about others: webhooks and tenants."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(open(LINK, encoding="utf-8").read().strip())
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Create and sign in").click()
    page.goto(f"{BASE}/webhooks")
    looks_right(page, "webhooks-empty")
    page.get_by_label("Name").fill("on-call in Lyon, with a name that is long enough to be a nuisance")
    page.get_by_label("Address").fill("https://hooks.invalid/" + "a-long-path-without-an-end/" * 4)
    page.get_by_label("With the person").check()
    page.get_by_role("button", name="Make").click()
    expect(page.locator("code.secret")).to_contain_text("whsec_")
    looks_right(page, "webhooks-secret")
    page.get_by_role("link", name="on-call in Lyon").click()
    page.get_by_role("button", name="Send a trial").click()
    while "cannot be resolved" not in page.locator("main").inner_text():
        page.reload()
    looks_right(page, "webhook")
    page.goto(f"{BASE}/webhooks")
    page.get_by_label("Name").fill("inside")
    page.get_by_label("Address").fill("https://10.0.0.1/")
    page.get_by_role("button", name="Make").click()
    expect(page.get_by_role("alert")).to_contain_text("private address")
    looks_right(page, "webhooks-refused")
    page.goto(f"{BASE}/tenants")
    page.get_by_label("Name", exact=True).fill("Example Ltd")
    page.get_by_label("Name of its first admin").fill("zed")
    page.get_by_label("Their first password").fill("correct horse battery")
    page.get_by_role("button", name="Make").click()
    expect(page.locator("main")).to_contain_text("/check?tenant=")
    looks_right(page, "tenants")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Name").fill("zed")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.goto(f"{BASE}/users")
    looks_right(page, "users-of-tenant")
    assert page.goto(f"{BASE}/tenants").status == 403
    context.close()


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    provider(browser)
    admin(browser)
    browser.close()
