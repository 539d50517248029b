"""What no deployment on Google Cloud or Azure may look like. `wordup plan` asks these of the offline graph, and
`infra/policies` asks the same of every `pulumi preview` and `pulumi up`.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from infra.azure import roles
from infra.gcp.names import EXPIRY, ROWS
from infra.plan.graph import SEALED


class Declared(NamedTuple):
    """A resource as both a plan and Pulumi's policy engine can tell it."""

    name: str
    type: str
    inputs: Any


class Violation(NamedTuple):
    """`resource` is the name of the one at fault."""

    resource: str
    sentence: str


# Gets every resource, and whether wordup.toml says that the internet may reach the bot.
Check = Callable[[Sequence[Declared], bool], Iterator[Violation]]
# A type of resource, what is wrong with its inputs, and the sentence that then follows its name.
Rule = tuple[str, Callable[[Any], bool], str]


class Policy(NamedTuple):
    """Where `whole`, it looks at all resources together, which Pulumi does at the end; else at each alone, before it
    is created."""

    name: str
    description: str
    check: Check
    whole: bool = False


FUNCTION = "gcp:cloudfunctionsv2/function:Function"
DATABASE = "gcp:firestore/database:Database"
WEB_APP = "azure-native:web:WebApp"
STORAGE_ACCOUNT = "azure-native:storage:StorageAccount"
ROLE_ASSIGNMENT = "azure-native:authorization:RoleAssignment"

# Credentials as they look wherever they stand: OpenAI's and Google's keys, Azure's connection strings and signatures.
_CREDENTIAL = re.compile(r"\bsk-[\w-]{16}|\bAIza[\w-]{30}|AccountKey=|SharedAccess\w+=|[?&]sig=|-----BEGIN [A-Z ]*KEY")
_SENSITIVE = re.compile(r"KEY|SECRET|PASSWORD|TOKEN|CONNECTION_STRING", re.IGNORECASE)
# Names that only look like a credential's: a reference to it, a count of tokens, an address.
_HARMLESS = re.compile(r"WORDUP_\w+_(REF|TOKENS)|APPLICATIONINSIGHTS_CONNECTION_STRING")
# The role that may have a whole project for its scope: it writes logs and reads nothing.
_PROJECT_WIDE = "roles/logging.logWriter"
_BROAD = re.compile(r"roles/(owner|editor|viewer)|.*[aA]dmin")
# What Azure's program grants, and nothing beside it.
_AZURE_ROLES = {value for name, value in vars(roles).items() if name.isupper()}
_WHOLE_GROUP = re.compile(r"/subscriptions/[^/]+(/resourceGroups/[^/]+)?/?", re.IGNORECASE)
_DOORS = ("azure-native:web:WebAppScmAllowed", "azure-native:web:WebAppFtpAllowed")
_SCALE = ("functionAppConfig", "scaleAndConcurrency")
_EVERYBODY = {"allUsers", "allAuthenticatedUsers"}


def violations(resources: Sequence[Declared], *, public: bool) -> list[str]:
    """What the policies say against it, one sentence each, with the resource's and the policy's name."""
    return [
        f"{found.resource} {found.sentence} ({policy.name})"
        for policy in POLICIES
        for found in policy.check(resources, public)
    ]


def _each(*rules: Rule) -> Check:
    def check(resources: Sequence[Declared], _public: bool) -> Iterator[Violation]:
        for kind, is_wrong, sentence in rules:
            for resource in _of(resources, kind):
                if is_wrong(resource.inputs):
                    yield Violation(resource.name, sentence)

    return check


def _all(*checks: Check) -> Check:
    def check(resources: Sequence[Declared], public: bool) -> Iterator[Violation]:
        return itertools.chain.from_iterable(check(resources, public) for check in checks)

    return check


def _no_credential(resources: Sequence[Declared], _public: bool) -> Iterator[Violation]:
    for resource in resources:
        for path, value in _texts(resource.inputs):
            if SEALED in path:
                yield Violation(resource.name, f"has a secret in {path[0]}, which Pulumi would keep in its state.")
            elif _CREDENTIAL.search(value):
                yield Violation(resource.name, f"has a credential in {'.'.join(path)}.")
        for name in _variables(resource.inputs):
            if _SENSITIVE.search(name) and not _HARMLESS.fullmatch(name):
                yield Violation(resource.name, f"has the variable {name}: variables hold references to secrets only.")


def _narrow_members(resources: Sequence[Declared], _public: bool) -> Iterator[Violation]:
    for resource in resources:
        if re.search(r"(IAM|Iam)(Binding|Policy|CustomRole)$", resource.type):
            yield Violation(resource.name, "grants more than one role to one member.")
        elif re.search(r"(IAM|Iam)Member$", resource.type):
            role, condition = resource.inputs["role"], resource.inputs.get("condition")
            if _BROAD.fullmatch(role):
                yield Violation(resource.name, f"grants {role}, which may do far more than its holder does.")
            if resource.type.startswith("gcp:projects/") and role != _PROJECT_WIDE and not condition:
                yield Violation(resource.name, f"grants {role} on the whole project; a condition would narrow it.")


def _rows_expire(resources: Sequence[Declared], _public: bool) -> Iterator[Violation]:
    """Firestore deletes by a policy; Table Storage has none, so there the function's timer does, which keeps its
    schedule in its host's storage."""
    expiring = [
        (field.inputs.get("database"), field.inputs["collection"], field.inputs["field"])
        for field in _of(resources, "gcp:firestore/field:Field")
        if field.inputs.get("ttlConfig") is not None
    ]
    for database in _of(resources, DATABASE):
        if (database.inputs["name"], ROWS, EXPIRY) not in expiring:
            yield Violation(database.name, f"keeps rows for ever: no policy expires {ROWS} by {EXPIRY}.")
    granted = {_role(assignment.inputs) for assignment in _of(resources, ROLE_ASSIGNMENT)}
    for app in _of(resources, WEB_APP):
        if roles.STORAGE_BLOB_DATA_OWNER not in granted:
            yield Violation(app.name, "keeps rows for ever: its timer may not use its host's storage.")


def _public_as_told(resources: Sequence[Declared], public: bool) -> Iterator[Violation]:
    for resource in resources:
        everybody = bool(_EVERYBODY & {resource.inputs.get("member"), *(resource.inputs.get("members") or ())})
        app = resource.type == WEB_APP and resource.inputs.get("publicNetworkAccess") != "Disabled"
        if (everybody or app) and not public:
            yield Violation(resource.name, "lets everybody in, and wordup.toml does not say so.")
        if everybody and resource.inputs.get("role") != "roles/run.invoker":
            yield Violation(resource.name, f"gives everybody {resource.inputs.get('role')}.")


def _ruled(resources: Sequence[Declared], _public: bool) -> Iterator[Violation]:
    releases = [release.inputs["name"] for release in _of(resources, "gcp:firebaserules/release:Release")]
    for database in _of(resources, DATABASE):
        if not any(release.endswith(f"cloud.firestore/{database.inputs['name']}") for release in releases):
            yield Violation(database.name, "has no security rules, which deny browsers and apps.")


def _no_password(resources: Sequence[Declared], _public: bool) -> Iterator[Violation]:
    for app in _of(resources, WEB_APP):
        for door in _DOORS:
            if not any(_of(resources, door)):
                yield Violation(app.name, f"takes packages by a password: no {door.rpartition(':')[2]} forbids it.")


def _allows_something(inputs: Any) -> bool:
    rules = "".join(file["content"] for file in inputs["source"]["files"])
    return "allow" in rules.replace("allow read, write: if false;", "")


def _old_tls(inputs: Any) -> bool:
    return inputs.get("minimumTlsVersion") not in ("TLS1_2", "TLS1_3") or not inputs.get("enableHttpsTrafficOnly")


def _hostless(inputs: Any) -> bool:
    return "AzureWebJobsStorage__accountName" not in _variables(inputs)


POLICIES = (
    Policy(
        "no-secret",
        "No secret, and no credential, stands in a variable, an input or the state.",
        _all(
            _no_credential,
            _each(
                (
                    "gcp:secretmanager/secretVersion:SecretVersion",
                    lambda _: True,
                    "puts a secret's value in the state.",
                ),
                ("azure-native:keyvault:Secret", lambda _: True, "puts a secret's value in the state."),
                ("gcp:serviceaccount/key:Key", lambda _: True, "is a key that somebody could carry away."),
            ),
        ),
    ),
    Policy(
        "narrow-roles",
        "Every role is a narrow one, on one thing.",
        _all(
            _narrow_members,
            _each(
                (ROLE_ASSIGNMENT, lambda i: _role(i) not in _AZURE_ROLES, "grants a role that the bot does not need."),
                (
                    ROLE_ASSIGNMENT,
                    lambda i: bool(_WHOLE_GROUP.fullmatch(i["scope"])),
                    "grants its role on far too much.",
                ),
                (
                    "azure-native:authorization:RoleDefinition",
                    lambda _: True,
                    "defines a role; Azure's own are narrow.",
                ),
            ),
        ),
    ),
    Policy("rows-expire", "Something deletes the rows whose time is over.", _rows_expire, whole=True),
    Policy(
        "timer-runs",
        "Azure's timer, which deletes rows, has the storage that it keeps its schedule in.",
        _each((WEB_APP, _hostless, "has no storage for its host, so no timer runs.")),
    ),
    Policy(
        "encrypted",
        # Google Cloud encrypts everything at rest and takes nothing but TLS; Azure lets one choose.
        "Everything is encrypted, at rest and under way.",
        _each(
            (STORAGE_ACCOUNT, _old_tls, "takes connections without TLS 1.2."),
            (
                STORAGE_ACCOUNT,
                lambda i: not all(_at(i, "encryption", "services", kind, "enabled") for kind in ("blob", "table")),
                "does not encrypt its blobs and tables.",
            ),
            (WEB_APP, lambda i: not i.get("httpsOnly"), "takes connections without TLS."),
            (
                WEB_APP,
                lambda i: _at(i, "siteConfig", "minTlsVersion") not in ("1.2", "1.3"),
                "takes connections without TLS 1.2.",
            ),
            (WEB_APP, lambda i: _at(i, "siteConfig", "ftpsState") != "Disabled", "takes files by FTP."),
        ),
    ),
    Policy(
        "nothing-public",
        "Nothing is public that wordup.toml does not say.",
        _all(
            _public_as_told,
            _each(
                ("gcp:firebaserules/ruleset:Ruleset", _allows_something, "has a rule that allows something."),
                (
                    "gcp:storage/bucket:Bucket",
                    lambda i: i.get("publicAccessPrevention") != "enforced" or not i.get("uniformBucketLevelAccess"),
                    "can be made public.",
                ),
                (STORAGE_ACCOUNT, lambda i: i.get("allowBlobPublicAccess") is not False, "can have public blobs."),
                (
                    "azure-native:storage:BlobContainer",
                    lambda i: i.get("publicAccess") != "None",
                    "shows its blobs to everybody.",
                ),
            ),
        ),
    ),
    Policy(
        "identities-only",
        "Nothing opens to a key or a password of the cloud's own.",
        _each(
            (STORAGE_ACCOUNT, lambda i: i.get("allowSharedKeyAccess") is not False, "opens to its account keys."),
            (
                "azure-native:keyvault:Vault",
                lambda i: not _at(i, "properties", "enableRbacAuthorization"),
                "has access policies of its own beside Azure's roles.",
            ),
            (
                "azure-native:applicationinsights:Component",
                lambda i: not i.get("disableLocalAuth"),
                "takes logs from whoever has its connection string.",
            ),
            (_DOORS[0], lambda i: i.get("allow") is not False, "lets packages in by a password."),
            (_DOORS[1], lambda i: i.get("allow") is not False, "lets packages in by a password."),
        ),
    ),
    Policy("no-password", "No package comes by a publishing password.", _no_password, whole=True),
    Policy("rules-deny", "Security rules keep browsers and apps out of the database.", _ruled, whole=True),
    Policy(
        "bounded",
        "It costs nothing when nobody asks, and no more than its limit when everybody does.",
        _each(
            (FUNCTION, lambda i: bool(_at(i, "serviceConfig", "minInstanceCount")), "does not scale to zero."),
            (FUNCTION, lambda i: not _at(i, "serviceConfig", "maxInstanceCount"), "has no limit."),
            (WEB_APP, lambda i: bool(_at(i, *_SCALE, "alwaysReady")), "does not scale to zero."),
            (WEB_APP, lambda i: not _at(i, *_SCALE, "maximumInstanceCount"), "has no limit."),
        ),
    ),
)


def _of(resources: Sequence[Declared], kind: str) -> Iterator[Declared]:
    return (resource for resource in resources if resource.type == kind)


def _role(assignment: Any) -> str:
    return assignment["roleDefinitionId"].rpartition("/")[2]


def _at(value: Any, *path: str) -> Any:
    """What stands at the end of the path; None where it breaks off."""
    for key in path:
        value = None if value is None else value.get(key)
    return value


def _variables(inputs: Any) -> set[str]:
    """The names of a function's variables."""
    running = _at(inputs, "serviceConfig", "environmentVariables") or ()
    building = _at(inputs, "buildConfig", "environmentVariables") or ()
    settings = _at(inputs, "siteConfig", "appSettings") or ()
    return {*running, *building, *(setting["name"] for setting in settings)}


def _texts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text inside, with the keys that lead to it."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        yield from itertools.chain.from_iterable(_texts(item, (*path, key)) for key, item in items)
    elif isinstance(value, Sequence):
        yield from itertools.chain.from_iterable(_texts(item, path) for item in cast(Sequence[Any], value))
