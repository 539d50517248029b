"""Runs the CDK program and the CDK's command line, each in a process of its own with the environment it is given."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import msgspec

from infra.errors import DeploymentError
from infra.package import BUILD
from infra.spec import ROOT, DeploymentSpec
from infra.targets import Report

TAIL_LINES = 30
_EVENT = re.compile(r"^(?P<stack>\S+) \| +(?P<done>\d+/\d+) \| .* \| (?P<type>AWS::\S+)")
# What the program is made of, beside its context.
_PROGRAM = (
    "infra/aws/*.py",
    "infra/spec.py",
    "infra/package.py",
    "functions/wordup/config.py",
    "functions/wordup/models.*",
    "cdk.json",
)

# What the CDK's command line adds to the context by itself: with it, a bare `cdk deploy` makes the same templates.
_BY_CDK = {"aws:cdk:enable-path-metadata": True, "aws:cdk:enable-asset-metadata": True}


def synthesize(
    spec: DeploymentSpec, code: Path, *, embedded: bool = False, folder: Path = BUILD / "cdk", **more: str
) -> Path:
    """The folder with the templates, made unless it is there from the same program. `more` is more of the program's
    context, see `infra.aws.app`. Raises DeploymentError."""
    whole = msgspec.json.encode(spec).decode()
    context = {"spec": whole, "embedded": str(embedded).lower(), "code": str(code), **more}
    group = folder / f"{spec.name}-{'embedded' if embedded else 'aws'}-{code.suffix.removeprefix('.') or 'sources'}"
    target = group / _key(context)
    if (target / "manifest.json").exists():
        return target
    group.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=group, prefix="new-") as draft:
        settings = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"] | _BY_CDK | context
        done = subprocess.run(
            [sys.executable, "-m", "infra.aws.app"],
            cwd=ROOT,
            env={**os.environ, **_node(), "CDK_OUTDIR": f"{draft}/out", "CDK_CONTEXT_JSON": json.dumps(settings)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            told = [*_violations(Path(draft, "out", "validation-report.json"))] or done.stderr.splitlines()
            raise DeploymentError(f"The CDK program failed.\n{_tail(told)}", mend="Mend what it names.")
        for older in group.glob("[0-9a-f]*"):
            shutil.rmtree(older)
        Path(draft, "out").rename(target)
    return target


class CDK:
    """`environment` is the whole one of its processes: it decides which account they reach."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {
            **environment,
            **_node(),
            "CDK_DISABLE_VERSION_CHECK": "true",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }

    def bootstrap(self, templates: Path, account: str, region: str, report: Report) -> None:
        # With the templates, because the CDK would otherwise run the program, and that package the function once more.
        self._run(["bootstrap", "--app", str(templates), f"aws://{account}/{region}"], report)

    def deploy(self, templates: Path, report: Report) -> None:
        """Every stack, in the order of their dependencies; one that is up to date is left alone."""
        self._run(["deploy", "--app", str(templates), "--all", "--require-approval", "never"], report)

    def _run(self, arguments: list[str], report: Report) -> None:
        command = [Path(sys.executable).with_name("cdk"), *arguments, "--no-notices", "--ci", "--progress", "events"]
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            for line in process.stdout:
                tail.append(line.rstrip())
                if event := _EVENT.match(line):
                    report.detail(f"{event['stack']} {event['done']} {event['type']}")
        if process.returncode:
            raise DeploymentError(
                f"`cdk {arguments[0]}` failed.\n{_tail(tail)}", mend="Mend what AWS names, then deploy again."
            )


def version() -> str:
    """Of the CDK's command line that is installed here; `none` where it is not."""
    package = ROOT / "node_modules" / "aws-cdk" / "package.json"
    return json.loads(package.read_text("utf-8"))["version"] if package.exists() else "none"


def _node() -> dict[str, str]:
    """Node from the environment this runs in, which the CDK would otherwise look for on the PATH."""
    bin_folder = Path(sys.executable).parent
    return {"JSII_NODE": str(bin_folder / "node"), "PATH": f"{bin_folder}{os.pathsep}{os.environ.get('PATH', '')}"}


def _key(context: Mapping[str, str]) -> str:
    digest = hashlib.sha256(f"{sorted(context.items())} {metadata.version('aws-cdk-lib')}".encode())
    for pattern in _PROGRAM:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _violations(report: Path) -> Iterator[str]:
    """What the CDK, or a plug-in of its, holds against the templates."""
    if not report.exists():
        return
    for plugin in json.loads(report.read_text("utf-8"))["pluginReports"]:
        for violation in plugin["violations"]:
            where = ", ".join(each["constructPath"] for each in violation["violatingConstructs"])
            yield f"{violation['ruleName']} at {where}: {violation['description']}"


def _tail(lines: list[str] | deque[str]) -> str:
    return "\n".join(list(lines)[-TAIL_LINES:])
