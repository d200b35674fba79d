"""Known vulnerabilities of installed packages, from the public database."""

import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

DATABASE = "https://api.osv.dev/v1/query"
ACCEPTED: dict[str, str] = {}
"""Identifier of a hole that cannot be fixed yet -> why it does not matter here."""


@pytest.mark.slow
def test_no_package_has_a_known_hole():
    question = json.dumps({"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "20.0"}).encode()
    try:
        urllib.request.urlopen(urllib.request.Request(DATABASE, question), timeout=20).close()
    except (urllib.error.URLError, OSError) as error:
        pytest.skip(f"the database of known holes cannot be reached: {error}")
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--vulnerability-service",
        "osv",
        "--format",
        "json",
        "--skip-editable",
    ]
    ended = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True)
    assert ended.stdout, ended.stderr
    found = {
        f"{package['name']} {package['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'none'}"
        for package in json.loads(ended.stdout)["dependencies"]
        for hole in package.get("vulns", ())
        if hole["id"] not in ACCEPTED
    }
    assert found == set()
