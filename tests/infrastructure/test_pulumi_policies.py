"""Each policy forbids what it is for: a clean plan, spoilt in one place, must fail by that policy's name. Then the
same is asked of the pack that Pulumi's engine loads, over the engine's own protocol."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from infra.plan.graph import SEALED
from infra.plan.offline import declared
from infra.plan.policies import POLICIES, Declared, violations
from infra.spec import ROOT
from tests.infrastructure.plans import plan

Resources = list[Declared]
Spoil = Callable[[dict[str, Declared]], object]

OWNER = "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"


def inputs(found: dict[str, Declared], name: str, *path: str) -> dict[str, Any]:
    value = found[name].inputs
    for key in path:
        value = value[key]
    return value


def add(found: dict[str, Declared], kind: str, **values: Any) -> None:
    found["added"] = Declared("added", kind, values)


# Policy, cloud, what spoils the plan.
SPOILT: list[tuple[str, str, Spoil]] = [
    ("no-secret", "gcp", lambda r: add(r, "gcp:secretmanager/secretVersion:SecretVersion", secretData="x")),
    ("no-secret", "gcp", lambda r: add(r, "gcp:serviceaccount/key:Key", serviceAccountId="x")),
    ("no-secret", "azure", lambda r: add(r, "azure-native:keyvault:Secret", properties={"value": "x"})),
    ("no-secret", "gcp", lambda r: inputs(r, "secret").update(labels={SEALED: {"a": "b"}})),
    ("no-secret", "gcp", lambda r: inputs(r, "function", "serviceConfig", "environmentVariables").update(API_KEY="a")),
    (
        "no-secret",
        "gcp",
        lambda r: inputs(r, "function", "serviceConfig", "environmentVariables").update(A="sk-proj-0123456789abcdef"),
    ),
    (
        "no-secret",
        "azure",
        lambda r: (
            r["function"]
            .inputs["siteConfig"]["appSettings"]
            .append({"name": "AzureWebJobsStorage", "value": "DefaultEndpointsProtocol=https;AccountKey=abc=="})
        ),
    ),
    ("narrow-roles", "gcp", lambda r: inputs(r, "runner-rows").pop("condition")),
    ("narrow-roles", "gcp", lambda r: inputs(r, "runner-rows").update(role="roles/owner")),
    ("narrow-roles", "gcp", lambda r: inputs(r, "runner-secret").update(role="roles/secretmanager.admin")),
    ("narrow-roles", "gcp", lambda r: inputs(r, "builder-source").update(role="roles/storage.objectAdmin")),
    ("narrow-roles", "gcp", lambda r: add(r, "gcp:projects/iAMBinding:IAMBinding", role="roles/x", members=["user:a"])),
    ("narrow-roles", "gcp", lambda r: add(r, "gcp:projects/iAMCustomRole:IAMCustomRole", permissions=["*"])),
    ("narrow-roles", "azure", lambda r: inputs(r, "function-rows").update(roleDefinitionId=OWNER)),
    ("narrow-roles", "azure", lambda r: inputs(r, "function-rows").update(scope="/subscriptions/offline")),
    (
        "narrow-roles",
        "azure",
        lambda r: inputs(r, "function-rows").update(scope="/subscriptions/offline/resourceGroups/wordup"),
    ),
    ("narrow-roles", "azure", lambda r: add(r, "azure-native:authorization:RoleDefinition", permissions=["*"])),
    ("rows-expire", "gcp", lambda r: inputs(r, "expiry").pop("ttlConfig")),
    ("rows-expire", "gcp", lambda r: inputs(r, "expiry").update(field="expiry")),
    ("rows-expire", "gcp", lambda r: inputs(r, "expiry").update(database="other")),
    ("rows-expire", "azure", lambda r: r.pop("function-host")),
    (
        "timer-runs",
        "azure",
        lambda r: inputs(r, "function", "siteConfig").update(appSettings=[{"name": "A", "value": "b"}]),
    ),
    ("encrypted", "azure", lambda r: inputs(r, "rows-account").update(minimumTlsVersion="TLS1_1")),
    ("encrypted", "azure", lambda r: inputs(r, "rows-account").update(enableHttpsTrafficOnly=False)),
    ("encrypted", "azure", lambda r: inputs(r, "rows-account").pop("encryption")),
    ("encrypted", "azure", lambda r: inputs(r, "function").pop("httpsOnly")),
    ("encrypted", "azure", lambda r: inputs(r, "function", "siteConfig").update(minTlsVersion="1.0")),
    ("encrypted", "azure", lambda r: inputs(r, "function", "siteConfig").update(ftpsState="FtpsOnly")),
    ("nothing-public", "gcp", lambda r: inputs(r, "public-invoker").update(role="roles/run.developer")),
    ("nothing-public", "gcp", lambda r: inputs(r, "runner-secret").update(member="allAuthenticatedUsers")),
    ("nothing-public", "gcp", lambda r: inputs(r, "source").update(publicAccessPrevention="inherited")),
    ("nothing-public", "gcp", lambda r: inputs(r, "source").update(uniformBucketLevelAccess=False)),
    (
        "nothing-public",
        "gcp",
        lambda r: r["rules"].inputs["source"]["files"][0].update(content="allow read: if true;"),
    ),
    ("nothing-public", "azure", lambda r: inputs(r, "rows-account").update(allowBlobPublicAccess=True)),
    ("nothing-public", "azure", lambda r: inputs(r, "packages").update(publicAccess="Blob")),
    ("identities-only", "azure", lambda r: inputs(r, "host-account").pop("allowSharedKeyAccess")),
    ("identities-only", "azure", lambda r: inputs(r, "vault", "properties").update(enableRbacAuthorization=False)),
    ("identities-only", "azure", lambda r: inputs(r, "insights").update(disableLocalAuth=False)),
    ("identities-only", "azure", lambda r: inputs(r, "no-publishing-password").update(allow=True)),
    ("identities-only", "azure", lambda r: inputs(r, "no-ftp-password").update(allow=True)),
    ("no-password", "azure", lambda r: r.pop("no-publishing-password")),
    ("no-password", "azure", lambda r: r.pop("no-ftp-password")),
    ("rules-deny", "gcp", lambda r: r.pop("rules-release")),
    ("rules-deny", "gcp", lambda r: inputs(r, "rules-release").update(name="cloud.firestore/other")),
    ("bounded", "gcp", lambda r: inputs(r, "function", "serviceConfig").update(minInstanceCount=1)),
    ("bounded", "gcp", lambda r: inputs(r, "function", "serviceConfig").pop("maxInstanceCount")),
    (
        "bounded",
        "azure",
        lambda r: inputs(r, "function", "functionAppConfig", "scaleAndConcurrency").update(
            alwaysReady=[{"name": "http", "instanceCount": 1}]
        ),
    ),
    (
        "bounded",
        "azure",
        lambda r: inputs(r, "function", "functionAppConfig", "scaleAndConcurrency").pop("maximumInstanceCount"),
    ),
]


def spoilt(cloud: str, spoil: Spoil) -> Resources:
    found = {
        resource.name: resource._replace(inputs=msgspec.json.decode(msgspec.json.encode(resource.inputs)))
        for resource in declared(plan(cloud))
    }
    spoil(found)
    return list(found.values())


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
@pytest.mark.parametrize("profile", ["dev", "production"])
def test_the_programs_keep_every_policy(cloud: str, profile: str) -> None:
    assert violations(declared(plan(cloud, profile)), public=True) == []


@pytest.mark.parametrize(("policy", "cloud", "spoil"), SPOILT)
def test_spoilt_plan_is_forbidden_by_its_policy(policy: str, cloud: str, spoil: Spoil) -> None:
    found = violations(spoilt(cloud, spoil), public=True)

    assert found
    assert all(sentence.endswith(f"({policy})") for sentence in found)


@pytest.mark.parametrize(("cloud", "resource"), [("gcp", "public-invoker"), ("azure", "function")])
def test_what_is_public_is_forbidden_unless_wordup_toml_says_so(cloud: str, resource: str) -> None:
    assert violations(declared(plan(cloud)), public=False) == [
        f"{resource} lets everybody in, and wordup.toml does not say so. (nothing-public)"
    ]
    assert violations(declared(plan(cloud, public=False)), public=False) == []


def test_every_policy_has_a_plan_that_it_forbids() -> None:
    assert {policy for policy, _, _ in SPOILT} == {policy.name for policy in POLICIES}


class Pack:
    """The pack as the engine drives it: a process that prints its port and serves Pulumi's analyzer protocol."""

    def __init__(self, port: int) -> None:
        self._analyzer = analyzer_pb2_grpc.AnalyzerStub(grpc.insecure_channel(f"127.0.0.1:{port}"))

    def policies(self) -> set[str]:
        return {policy.name for policy in self._analyzer.GetAnalyzerInfo(empty_pb2.Empty()).policies}

    def violations(self, resources: Resources, *, public: bool) -> set[str]:
        config = analyzer_pb2.PolicyConfig(
            enforcementLevel=analyzer_pb2.MANDATORY, properties=_struct({"public": public})
        )
        everything = dict.fromkeys(self.policies(), config)
        self._analyzer.Configure(analyzer_pb2.ConfigureAnalyzerRequest(policyConfig=everything))
        found = [
            self._analyzer.Analyze(
                analyzer_pb2.AnalyzeRequest(type=r.type, name=r.name, urn=_urn(r), properties=_struct(r.inputs))
            )
            for r in resources
        ]
        together = [
            analyzer_pb2.AnalyzerResource(type=r.type, name=r.name, urn=_urn(r), properties=_struct(r.inputs))
            for r in resources
        ]
        found.append(self._analyzer.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=together)))
        told = [diagnostic for answer in found for diagnostic in answer.diagnostics]
        assert {diagnostic.enforcementLevel for diagnostic in told} <= {analyzer_pb2.MANDATORY}
        return {diagnostic.policyName for diagnostic in told}


def _struct(value: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(value, struct_pb2.Struct())


def _urn(resource: Declared) -> str:
    return f"urn:pulumi:offline::wordup::{resource.type}::{resource.name}"


@pytest.fixture(scope="module")
def pack() -> Iterator[Pack]:
    command = [sys.executable, ROOT / "infra" / "policies", "127.0.0.1:0", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT / "infra" / "policies") as process:
        assert process.stdout
        try:
            yield Pack(int(process.stdout.readline()))
        finally:
            process.terminate()


def test_pulumi_s_engine_gets_every_policy(pack: Pack) -> None:
    assert pack.policies() == {policy.name for policy in POLICIES}


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_pack_lets_a_clean_plan_pass_and_stops_what_is_public_without_a_word(pack: Pack, cloud: str) -> None:
    assert pack.violations(declared(plan(cloud)), public=True) == set()
    assert pack.violations(declared(plan(cloud)), public=False) == {"nothing-public"}


def test_pack_forbids_what_the_offline_plan_forbids(pack: Pack) -> None:
    first = {policy: (cloud, spoil) for policy, cloud, spoil in reversed(SPOILT)}

    assert {policy: pack.violations(spoilt(cloud, spoil), public=True) for policy, (cloud, spoil) in first.items()} == {
        policy: {policy} for policy in first
    }
