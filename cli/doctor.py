"""`wordup doctor`: what a deployment needs of this machine and of the account, and what mends what is missing."""

import sys

import msgspec
from rich.text import Text

from cli import console
from cli.deploy import AsJSON, To, WithName, WithProfile
from infra import spec
from infra.checks import Check
from infra.doctor import examine


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What `doctor --json` prints."""

    checks: list[Check]


def doctor(to: To = "local", profile: WithProfile = None, name: WithName = None, as_json: AsJSON = False) -> None:
    """Check what a deployment needs; changes nothing. Exits 1 where something is missing."""
    checks = examine(to, spec.load(name=name, profile=profile))
    if as_json:
        console.document(Examined(checks=checks))
    else:
        for check in checks:
            console.screen.print(Text(f"{'ok' if check.ok else 'NO'}  {check.name}: {check.found}"), soft_wrap=True)
            if check.mend:
                console.screen.print(Text(f"    mend: {check.mend}"), soft_wrap=True)
    if not all(check.ok for check in checks):
        sys.exit(1)
