"""Compares constraints.txt with the known vulnerabilities of its packages, and says how many it could not ask about.

`pip-audit` by itself finds "no known vulnerabilities" in packages that it was told nothing of.
Ends with 1 if a package has a known vulnerability, or the audit itself fails; with 0 if nothing is known against any,
or nobody could be asked.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 15
UNREACHED = re.compile(r"your network may be blocking|requests\.exceptions\.")


def main() -> int:
    command = ["pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip", "--format", "json"]
    options = ["--progress-spinner", "off", "--timeout", str(TIMEOUT_S)]
    done = subprocess.run(
        [sys.executable, "-m", *command, *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return judge(done.stdout, done.stderr)


def judge(answer: str, complaint: str) -> int:
    try:
        packages = json.loads(answer)["dependencies"]
    except ValueError:
        last = "".join(complaint.splitlines()[-1:])
        if UNREACHED.search(last):
            print(f"NOT AUDITED: the service of vulnerabilities was not reached: {last}")
            return 0
        print(f"THE AUDIT FAILED:\n{complaint}")
        return 1
    return tell(packages)


def tell(packages: list[dict]) -> int:
    skipped = [each for each in packages if "skip_reason" in each]
    vulnerable = [each for each in packages if each.get("vulns")]
    for each in vulnerable:
        for found in each["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "no version"
            print(f"{each['name']} {each['version']}: {found['id']}, mended in {fixed}")
    if skipped:
        print(f"NOT AUDITED: {len(skipped)} of {len(packages)} packages; of the first: {skipped[0]['skip_reason']}")
    if len(skipped) < len(packages):
        print(f"audited: {len(packages) - len(skipped)} packages, {len(vulnerable)} with known vulnerabilities")
    return int(bool(vulnerable))


if __name__ == "__main__":
    sys.exit(main())
