"""What the audit of packages tells."""

import pytest
from audit import judge, tell

FINE = {"name": "fine", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([FINE], 0, "audited: 1 packages, 0 with known vulnerabilities\n"),
        ([FINE, BAD], 1, "bad 2: CVE-1, mended in 2.1\naudited: 2 packages, 1 with known vulnerabilities\n"),
        ([UNKNOWN], 0, "NOT AUDITED: 1 of 1 packages; of the first: not found\n"),
        (
            [FINE, UNKNOWN],
            0,
            "NOT AUDITED: 1 of 2 packages; of the first: not found\n"
            "audited: 1 packages, 0 with known vulnerabilities\n",
        ),
    ],
)
def test_what_could_not_be_asked_is_not_called_fine(
    packages: list, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(packages) == code
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(
    ("complaint", "code"),
    [
        ("ERROR: Could not connect\nERROR: Tip: your network may be blocking this service.", 0),
        ("Traceback …\nrequests.exceptions.ConnectionError: HTTPSConnectionPool", 0),
        ("/usr/bin/python3: No module named pip_audit", 1),
        ("ERROR: requirement is not pinned to an exact version: mlflow", 1),
        ("", 1),
    ],
)
def test_an_audit_that_fails_is_not_called_unreached(complaint: str, code: int) -> None:
    assert judge("", complaint) == code
