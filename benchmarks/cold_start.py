"""How long the first caller of a new instance waits on each cloud, beside functions that do less.

On AWS every function runs in a new process of its runtime, Lambda's own client awslambdaric or for the bot that of
its package, against a Runtime API and an embedded AWS on this machine, with DynamoDB and Secrets Manager. On Google
Cloud it runs under functions-framework on the Firestore emulator for Node, on Azure under the Functions worker's
library on Azurite; there the bot reads its signing key from a file. The bot's function is the very package that is
deployed; its answer comes from the offline provider, or from a stand-in for OpenAI. The peers
read a row of the same database by the vendor's client and write one, and do nothing of what else a turn takes: no
user, no limits, no retrieval, no model. Bytecode is compiled for all alike. `init` is from the start of the process
to Lambda's first request for work, `answer` to the answer to the first `POST /chat`, `cpu` the processor's time until
then. The functions of a cloud take turns; the first round is left out, since it fills the disk's cache. Ratios are of
medians, to the first line's; that of `cpu` is hardly touched by what else the machine does.

A processor of this machine is not a function's share of one, so the ratios say more than the milliseconds.

Where the time goes: `Python itself` is a process that does nothing; then what a function does until it asks for an
event; what its first answer takes beyond a second one, which is imports, clients and connections; and that second one.
The imports are of one run each, with `-X importtime`, which slows them down.

What was cut is put back, one thing at a time, into a copy of the package: botocore's data is read anew for each client,
Python looks for garbage as often as it likes, modules are compiled as they are imported. Besides, the package has
botocore without boto3, the prices of models as a file in place of the package that they come from, and imports a
provider's SDK, a retriever's index and a page when they are first asked for.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from benchmarks import platforms, results, start_costs
from benchmarks.runtime_api import FunctionFailed, Instance
from benchmarks.starts import QUESTION, Start, children_cpu, compiled, install, interleaved, rows, sign_in
from infra import spec
from infra.local import ministack
from tests.emulators import create_dynamodb_table
from tests.functions import unpack
from tests.provider_server import ProviderServer
from wordup.keyring import new_ring

REPETITIONS = 9
PEERS = Path(__file__).parent / "peers"
IMPORTS_SHOWN = 14
IMPORT_TIME = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)  # its own, with others, its name
VERSIONS = (
    "aiohttp",
    "awslambdaric",
    "azure-data-tables",
    "azure-functions-runtime",
    "boto3",
    "botocore",
    "fastapi",
    "functions-framework",
    "google-cloud-firestore",
    "mangum",
    "msgspec",
    "starlette",
)
BASELINE, OFFLINE, OPENAI = "boto3 alone", "Word Up!, offline", "Word Up!, openai"


@dataclass(frozen=True)
class Function:
    """What starts: an entry point with its package, its variables and the first event."""

    name: str
    root: Path
    handler: str
    environment: Mapping[str, str]
    event: Mapping[str, Any]


class LambdaRuntime:
    """An interpreter that has awslambdaric and nothing else, as Lambda's has."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "runtime", symlinks=True)
        self.python = folder / "runtime" / "bin" / "python"
        install(["awslambdaric"], "--python", str(self.python))
        self._log = folder / "function.log"

    def start(self, function: Function, variables: Mapping[str, str] | None = None) -> Start:
        """One cold start with its first answer. Raises FunctionFailed."""
        environment = {**function.environment, **(variables or {})}
        cpu = children_cpu()
        with Instance(self.python, function.root, function.handler, environment, log=self._log) as instance:
            answer, came = instance.invoke(function.event)
            if answer["statusCode"] != 200 or not json.loads(answer["body"])["message"]:
                raise FunctionFailed(f"{function.name} answered: {answer}")
        init, answered = instance.ready - instance.spawned, came - instance.spawned
        return Start(answered * 1000, (children_cpu() - cpu) * 1000, init * 1000)

    def costs(self, function: Function) -> tuple[float, ...]:
        """Seconds of the processor until it asks for an event, until its first answer, and until its second."""
        with Instance(self.python, function.root, function.handler, function.environment, log=self._log) as instance:
            instance.wait()
            spent = [instance.cpu()]
            for _ in range(2):
                instance.invoke(function.event)
                spent.append(instance.cpu())
        return tuple(spent)

    def imports(self, function: Function) -> Counter[str]:
        """Microseconds of its imports by package, those of the standard library together."""
        self.start(function, {"PYTHONPROFILEIMPORTTIME": "1"})
        spent: Counter[str] = Counter()
        for microseconds, module in IMPORT_TIME.findall(self._log.read_text()):
            top = module.partition(".")[0]
            spent["standard library" if top in sys.stdlib_module_names else top] += int(microseconds)
        return spent


def peer_package(folder: Path, module: str, *names: str) -> Path:
    """A peer's task root: its module and packages, compiled like ours."""
    root = folder / module
    install(names, "--python", sys.executable, "--target", str(root))
    (root / f"{module}.py").write_bytes((PEERS / f"{module}.py").read_bytes())
    return compiled(root)


def functions(folder: Path, aws: Mapping[str, str], ours: Mapping[str, str], model_url: str) -> list[Function]:
    """Those that take turns. `ours` are the bot's variables, as they are deployed."""
    token = sign_in(ours)
    event = rest_api_event("POST", "/chat", {"message": QUESTION}, {"authorization": f"Bearer {token}"})
    peer = {**aws, "TABLE": ours["WORDUP_TABLE"]}
    root = unpack("aws", folder)
    ours = {**ours, "AWS_LAMBDA_EXEC_WRAPPER": str(root / "bootstrap")}
    return [
        Function(BASELINE, peer_package(folder, "bare_boto3", "boto3"), "bare_boto3.handler", peer, event),
        Function(
            "FastAPI and boto3",
            peer_package(folder, "fastapi_boto3", "boto3", "fastapi", "mangum"),
            "fastapi_boto3.handler",
            peer,
            event,
        ),
        Function(OFFLINE, root, "", {**aws, **ours, "WORDUP_PROVIDER": "offline"}, event),
        Function(OPENAI, root, "", {**aws, **ours, "WORDUP_PROVIDER": "openai", "OPENAI_BASE_URL": model_url}, event),
    ]


def deployed(aws: Mapping[str, str]) -> dict[str, str]:
    """The bot's variables in an account that has its table and its secret."""
    deployment = spec.load()
    create_dynamodb_table(aws["AWS_ENDPOINT_URL"], deployment.name)
    secret = {"signing": json.loads(new_ring()), "provider_key": "none"}
    client: Any = boto3.client("secretsmanager", endpoint_url=aws["AWS_ENDPOINT_URL"])
    client.create_secret(Name=deployment.name, SecretString=json.dumps(secret))
    return spec.environment(deployment, "aws") | {"WORDUP_RATE_LIMIT_PER_MINUTE": "100000"}


def rest_api_event(method: str, path: str, body: object, headers: Mapping[str, str]) -> dict[str, Any]:
    """As API Gateway's REST API sends it, without what no function here reads."""
    sent = {"content-type": "application/json", "host": "localhost", **headers}
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.lstrip("/")},
        "requestContext": {
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "path": path,
            "stage": "v1",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def import_rows(profiles: Mapping[str, Counter[str]]) -> list[dict[str, results.Cell]]:
    everything = sum(profiles.values(), Counter[str]())
    spent = {
        name: [profile[name] for profile in profiles.values()] for name, _ in everything.most_common(IMPORTS_SHOWN)
    }
    spent["all"] = [profile.total() for profile in profiles.values()]
    return [
        {"package": name, **{function: round(each / 1000) for function, each in zip(profiles, found, strict=True)}}
        for name, found in spent.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the recorded line instead of tables")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = stack.enter_context(ministack.started(folder / "ministack"))
        provider = stack.enter_context(ProviderServer())
        os.environ |= running.environment  # the clients of this process
        found = functions(folder, running.environment, deployed(running.environment), provider.url)
        runtime = LambdaRuntime(folder)
        starts = interleaved({each.name: partial(runtime.start, each) for each in found}, arguments.repetitions)
        looked_into = [each for each in found if each.name in (BASELINE, OFFLINE, OPENAI)]
        profiles = {each.name: runtime.imports(each) for each in looked_into}
        rounds = [{each.name: runtime.costs(each) for each in looked_into} for _ in range(arguments.repetitions)]
        costs = {each.name: [costs[each.name] for costs in rounds] for each in looked_into}
        offline = next(each for each in found if each.name == OFFLINE)
        tables = {
            "Milliseconds of the processor, AWS": start_costs.steps(costs, runtime.python),
            "Milliseconds of imports until the first answer, AWS": import_rows(profiles),
            f"{OFFLINE}, with what was cut put back": start_costs.cuts(
                offline, runtime.start, folder / "cuts", arguments.repetitions
            ),
        }
        clouds = {}
        for cloud, prepared in {"Google Cloud": platforms.gcp, "Azure": platforms.azure}.items():
            with prepared(folder / cloud, provider.url) as cases:
                clouds[cloud] = rows(interleaved(cases, arguments.repetitions))
    title = f"{arguments.repetitions} cold starts of each"
    published = {
        f"AWS, {title}": rows(starts),
        **{f"{cloud}, {title}": cells for cloud, cells in clouds.items()},
        **tables,
    }
    results.publish("cold_start", published, VERSIONS, as_json=arguments.json)


if __name__ == "__main__":
    main()
