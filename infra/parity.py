"""What each cloud's program provides, capability by capability, found in the programs themselves.

`python -m infra.parity` writes docs/parity.md from the CDK's templates and both Pulumi plans of a production
deployment. A cell that neither a resource fills nor a reason explains is a hole, and fails; so does a reason that a
resource has meanwhile made untrue.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from infra.aws import templates
from infra.aws.cdk import synthesize
from infra.azure import roles
from infra.plan.offline import offline_graph
from infra.spec import ROOT, Cloud, DeploymentSpec, parse
from infra.targets import Resource

PAGE = ROOT / "docs" / "parity.md"
CLOUDS: tuple[Cloud, ...] = ("aws", "gcp", "azure")
# Everything that a deployment can have.
SETTINGS: dict[str, Any] = {"profile": "production", "gcp": {"public": True}, "azure": {"public": True}}
_ASSIGNMENT = "azure-native:authorization:RoleAssignment"


@dataclass(frozen=True)
class Cell:
    """The resources of a `type` whose inputs satisfy `has` provide the capability; `lacks` says why none does."""

    type: str
    has: Callable[[Any], object] = lambda _: True
    note: str = ""
    lacks: str = ""


class Row(NamedTuple):
    capability: str
    cells: Mapping[Cloud, Cell]


class Hole(NamedTuple):
    capability: str
    cloud: Cloud
    sentence: str


def _row(capability: str, aws: Cell, gcp: Cell, azure: Cell) -> Row:
    return Row(capability, {"aws": aws, "gcp": gcp, "azure": azure})


def _at(value: Any, *path: str | int) -> Any:
    """What stands at the end of the path; None where it breaks off."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _statement(inputs: Any, action: str, resource: str) -> bool:
    """Whether a role allows an action of that service on that one thing, and on nothing wider."""
    return any(
        action in str(statement["Action"]) and resource in str(statement["Resource"])
        for policy in inputs.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
    )


def _granted(role: str, scope: str) -> Callable[[Any], bool]:
    """To the function; who deploys has grants of their own."""

    def has(inputs: Any) -> bool:
        to_function = inputs["principalType"] == "ServicePrincipal"
        return to_function and inputs["roleDefinitionId"].endswith(role) and scope in inputs["scope"]

    return has


ROWS = (
    _row(
        "Runs the code, from no instance to a limit",
        Cell("AWS::Lambda::Function", lambda i: i["Runtime"] == "python3.13", "the account's limit"),
        Cell(
            "gcp:cloudfunctionsv2/function:Function",
            lambda i: _at(i, "serviceConfig", "minInstanceCount") == 0 and _at(i, "serviceConfig", "maxInstanceCount"),
        ),
        Cell(
            "azure-native:web:WebApp",
            lambda i: (
                _at(i, "functionAppConfig", "scaleAndConcurrency", "alwaysReady") == []
                and _at(i, "functionAppConfig", "scaleAndConcurrency", "maximumInstanceCount")
            ),
        ),
    ),
    _row(
        "Holds the package",
        Cell("AWS::Lambda::Function", lambda i: _at(i, "Code", "S3Key"), "the CDK's bucket of assets"),
        Cell("gcp:storage/bucketObject:BucketObject"),
        Cell("azure-native:storage:BlobContainer", note="uploaded after the deployment"),
    ),
    _row(
        "Takes requests from the internet",
        Cell("AWS::ApiGateway::Method", lambda i: i["HttpMethod"] == "ANY"),
        Cell("gcp:cloudrunv2/serviceIamMember:ServiceIamMember", lambda i: i["member"] == "allUsers", "`gcp.public`"),
        Cell("azure-native:web:WebApp", lambda i: i["publicNetworkAccess"] == "Enabled", "`azure.public`"),
    ),
    _row(
        "Bounds how many at a time",
        Cell("AWS::ApiGateway::Stage", lambda i: _at(i, "MethodSettings", 0, "ThrottlingRateLimit"), "a rate"),
        Cell(
            "gcp:cloudfunctionsv2/function:Function",
            lambda i: _at(i, "serviceConfig", "maxInstanceRequestConcurrency"),
            "instances times concurrency",
        ),
        Cell(
            "azure-native:web:WebApp",
            lambda i: _at(i, "functionAppConfig", "scaleAndConcurrency", "triggers", "http", "perInstanceConcurrency"),
            "instances times concurrency",
        ),
    ),
    _row(
        "Streams answers",
        Cell(
            "AWS::ApiGateway::Method",
            lambda i: _at(i, "Integration", "ResponseTransferMode") == "STREAM",
        ),
        Cell("gcp:cloudfunctionsv2/function:Function", note="second generation"),
        Cell("azure-native:web:WebApp", note="HTTP streams"),
    ),
    _row(
        "Ends what takes too long",
        Cell("AWS::Lambda::Function", lambda i: i["Timeout"]),
        Cell("gcp:cloudfunctionsv2/function:Function", lambda i: _at(i, "serviceConfig", "timeoutSeconds")),
        Cell("azure-native:web:AppServicePlan", lambda i: i["sku"]["name"] == "FC1", "the plan's own 30 minutes"),
    ),
    _row(
        "Keeps conversations",
        Cell("AWS::DynamoDB::Table"),
        Cell("gcp:firestore/database:Database"),
        Cell("azure-native:storage:Table"),
    ),
    _row(
        "Deletes expired rows",
        Cell("AWS::DynamoDB::Table", lambda i: _at(i, "TimeToLiveSpecification", "Enabled")),
        Cell("gcp:firestore/field:Field", lambda i: "ttlConfig" in i),
        Cell(_ASSIGNMENT, _granted(roles.STORAGE_BLOB_DATA_OWNER, "host"), "lets the function's timer run, which does"),
    ),
    _row(
        "Encrypts at rest",
        Cell("AWS::DynamoDB::Table", lambda i: _at(i, "SSESpecification", "SSEEnabled")),
        Cell("gcp:firestore/database:Database", note="always, Google's keys"),
        Cell(
            "azure-native:storage:StorageAccount",
            lambda i: _at(i, "encryption", "services", "table", "enabled"),
            "Microsoft's keys",
        ),
    ),
    _row(
        "Encrypts under way",
        Cell("AWS::ApiGateway::RestApi", note="nothing but TLS"),
        Cell("gcp:cloudfunctionsv2/function:Function", note="nothing but TLS"),
        Cell("azure-native:web:WebApp", lambda i: i["httpsOnly"] and _at(i, "siteConfig", "minTlsVersion") == "1.2"),
    ),
    _row(
        "Keeps the secret",
        Cell("AWS::SecretsManager::Secret", lambda i: "SecretString" not in i),
        Cell("gcp:secretmanager/secret:Secret"),
        Cell("azure-native:keyvault:Vault", lambda i: _at(i, "properties", "enableRbacAuthorization")),
    ),
    _row(
        "Gives the function an identity",
        Cell("AWS::IAM::Role", lambda i: "lambda.amazonaws.com" in str(i["AssumeRolePolicyDocument"])),
        Cell("gcp:serviceaccount/account:Account", lambda i: i["accountId"].endswith("-run")),
        Cell("azure-native:web:WebApp", lambda i: _at(i, "identity", "type") == "SystemAssigned"),
    ),
    _row(
        "Lets it use its rows, no others",
        Cell("AWS::IAM::Role", lambda i: _statement(i, "dynamodb:", ":table/wordup")),
        Cell(
            "gcp:projects/iAMMember:IAMMember",
            lambda i: i["role"] == "roles/datastore.user" and "databases/wordup" in str(i.get("condition")),
        ),
        Cell(_ASSIGNMENT, _granted(roles.STORAGE_TABLE_DATA_CONTRIBUTOR, "/tables/wordup")),
    ),
    _row(
        "Lets it read its secret, no other",
        Cell("AWS::IAM::Role", lambda i: _statement(i, "secretsmanager:GetSecretValue", ":secret:wordup-")),
        Cell("gcp:secretmanager/secretIamMember:SecretIamMember"),
        Cell(_ASSIGNMENT, _granted(roles.KEY_VAULT_SECRETS_USER, "/Vault/wordup-"), "the vault has no other"),
    ),
    _row(
        "Keeps logs for a set time",
        Cell("AWS::Logs::LogGroup", lambda i: i["RetentionInDays"]),
        Cell("gcp:logging/projectBucketConfig:ProjectBucketConfig", lambda i: i["retentionDays"]),
        Cell("azure-native:operationalinsights:Workspace", lambda i: i["retentionInDays"]),
    ),
    _row(
        "Logs every request",
        Cell("AWS::ApiGateway::Stage", lambda i: "AccessLogSetting" in i),
        Cell("gcp:logging/projectSink:ProjectSink", lambda i: "cloud_run_revision" in i["filter"]),
        Cell("azure-native:applicationinsights:Component"),
    ),
    _row(
        "Refuses to lose production's rows",
        Cell("AWS::DynamoDB::Table", lambda i: i["DeletionProtectionEnabled"]),
        Cell("gcp:firestore/database:Database", lambda i: i["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED"),
        Cell("azure-native:authorization:ManagementLockByScope", lambda i: i["level"] == "CanNotDelete"),
    ),
    _row(
        "Restores production's rows to a moment",
        Cell(
            "AWS::DynamoDB::Table",
            lambda i: _at(i, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled"),
        ),
        Cell(
            "gcp:firestore/database:Database",
            lambda i: i["pointInTimeRecoveryEnablement"] == "POINT_IN_TIME_RECOVERY_ENABLED",
        ),
        Cell(
            "azure-native:dataprotection:BackupInstance",
            lacks="Table Storage keeps no past; it is copied to three zones",
        ),
    ),
)


def deployments() -> dict[Cloud, list[Resource]]:
    """Every cloud's resources. Raises DeploymentError."""
    spec: DeploymentSpec = parse(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "package.zip")
        package.touch()
        gcp = offline_graph("gcp", spec, package).planned()
    aws = templates.resources(templates.read(synthesize(spec, ROOT / "functions")))
    return {"aws": aws, "gcp": gcp, "azure": offline_graph("azure", spec).planned()}


def providers(cell: Cell, resources: Sequence[Resource]) -> list[Resource]:
    return [resource for resource in resources if resource.type == cell.type and cell.has(resource.inputs)]


def holes(found: Mapping[Cloud, Sequence[Resource]]) -> list[Hole]:
    told: list[Hole] = []
    for row in ROWS:
        for cloud, cell in row.cells.items():
            provided = bool(providers(cell, found[cloud]))
            if provided and cell.lacks:
                told.append(Hole(row.capability, cloud, "is provided now; take its reason out"))
            elif not provided and not cell.lacks:
                told.append(Hole(row.capability, cloud, f"has no {cell.type} that does"))
    return told


def page(found: Mapping[Cloud, Sequence[Resource]]) -> str:
    lines = [
        "# What each cloud's program provides",
        "",
        "Made from the programs by `python -m infra.parity`; a test compares it. It is a production deployment, open",
        "to the internet. A cell names the resource that provides the capability and its type.",
        "",
        "| capability | AWS | Google Cloud | Azure |",
        "|---|---|---|---|",
    ]
    for row in ROWS:
        cells = (_shown(row.cells[cloud], found[cloud]) for cloud in CLOUDS)
        lines.append(f"| {row.capability} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _shown(cell: Cell, resources: Sequence[Resource]) -> str:
    if cell.lacks:
        return f"**none**: {cell.lacks}"
    names = sorted({_short_name(resource.name) for resource in providers(cell, resources)})
    note = f"; {cell.note}" if cell.note else ""
    return f"`{', '.join(names)}` {_short_type(cell.type)}{note}"


def _short_name(name: str) -> str:
    """CDK's names end in a hash of their path."""
    return re.sub(r"[0-9A-F]{8}$", "", name.rpartition("/")[2])


def _short_type(kind: str) -> str:
    """`AWS::DynamoDB::Table` -> `DynamoDB Table`, `gcp:firestore/field:Field` -> `firestore Field`."""
    *_, module, name = re.split(":+", kind)
    return f"{module.partition('/')[0]} {name}"


def main() -> int:
    found = deployments()
    for hole in holes(found):
        print(f"{hole.cloud}: {hole.capability}: {hole.sentence}", file=sys.stderr)  # noqa: T201 - for a person
    PAGE.write_text(page(found), "utf-8")
    return bool(holes(found))


if __name__ == "__main__":
    sys.exit(main())
