"""What keeps people out of a page."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

SEEN = ["color-contrast", "scrollable-region-focusable", "target-size"]
"""The rules of axe that depend on width and theme; the others read what is the same in all."""


def find_faults(page: "Page") -> list[str]:
    """What axe finds, and what is wider than the screen: on a wide light one, and on a narrow dark one."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for width, theme, rules in ((1280, "light", {}), (390, "dark", {"runOnly": SEEN})):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme)
        result = Axe().run(page, options={"resultTypes": ["violations"], **rules})
        if result.violations_count:
            found.append(f"{page.url}, {theme}: {result.generate_report()}")
        beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if beyond > 0:
            found.append(f"{page.url}: {beyond} pixels beyond a screen of {width}")
    return found
