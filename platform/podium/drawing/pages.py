"""How pages are written: all that they hold is escaped, and none of it is a secret of this process."""

import json
from typing import Any
from xml.etree.ElementTree import Element, tostring  # written only: nothing is parsed

from jinja2 import Environment, PackageLoader, StrictUndefined

from podium.masking import Secrets


def to_html(root: Element) -> str:
    """A tree as HTML; secrets are masked in its texts and labels."""
    secrets = Secrets()
    for element in root.iter():
        if element.text:
            element.text = secrets.hide(element.text)
        if label := element.get("aria-label"):
            element.set("aria-label", secrets.hide(label))
    return tostring(root, encoding="unicode", method="html")


def environment(package: str) -> Environment:
    """The templates of a package; secrets are masked in whatever is put into them, but in what is HTML already."""
    secrets = Secrets()

    def finalize(value: Any) -> Any:
        return value if hasattr(value, "__html__") else secrets.hide(str(value))

    made = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    made.policies["json.dumps_function"] = lambda value, **how: secrets.hide(json.dumps(value, **how))
    return made
