"""The mistakes that neither running a Pulumi program nor its type checker finds, each made in a real plan."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from infra.plan.graph import Resource
from infra.plan.signatures import problems
from tests.infrastructure.plans import one, plan

Mistake = Callable[[dict[str, Any]], object]


def with_mistake(resource: Resource, mistake: Mistake) -> Resource:
    inputs = msgspec.json.decode(msgspec.json.encode(resource.inputs))
    mistake(inputs)
    return msgspec.structs.replace(resource, inputs=inputs)


def wrong(cloud: str, name: str, mistake: Mistake) -> list[str]:
    return problems([with_mistake(one(plan(cloud), name), mistake)])


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_every_input_of_the_programs_is_known_to_the_sdk(cloud: str) -> None:
    checked = [r for r in plan(cloud).resources if not r.component and not r.type.startswith("pulumi:")]

    assert problems(plan(cloud).resources) == []
    assert len(checked) > 15


@pytest.mark.parametrize(
    ("name", "mistake", "sentence"),
    [
        ("database", lambda i: i.pop("locationId"), "database.locationId is missing"),
        ("database", lambda i: i.update(databaseId="x"), "database.databaseId is no property of DatabaseArgs"),
        ("database", lambda i: i.update(name=5), "database.name is 5, and should be str"),
        ("database", lambda i: i.update(type="NATIVE"), "none of DATASTORE_MODE, FIRESTORE_NATIVE"),
        ("expiry", lambda i: i.update(ttlConfig=True), "expiry.ttlConfig is no object"),
        ("expiry", lambda i: i["indexConfig"].update(indexes={}), "expiry.indexConfig.indexes is no list"),
        ("expiry", lambda i: i["indexConfig"].update(indexes=[{"order": "UP"}]), "ASCENDING, DESCENDING"),
        ("source", lambda i: i.update(uniformBucketLevelAccess="yes"), "and should be bool"),
        ("archive", lambda i: i.update(source="package.zip"), "and should be a file"),
        ("function", lambda i: i["serviceConfig"].update(minInstanceCount=True), "True, and should be int"),
        ("function", lambda i: i["serviceConfig"].update(ingressSettings="ALLOW_SOME"), "ALLOW_INTERNAL_ONLY"),
        ("function", lambda i: i["serviceConfig"].update(environmentVariables=["A=1"]), "is no map"),
        ("function", lambda i: i["serviceConfig"]["environmentVariables"].update(A=1), "environmentVariables.A is 1"),
        ("runner-rows", lambda i: i["condition"].pop("title"), "runner-rows.condition.title is missing"),
    ],
)
def test_mistake_in_a_google_cloud_input_is_named(name: str, mistake: Mistake, sentence: str) -> None:
    [problem] = wrong("gcp", name, mistake)

    assert sentence in problem


@pytest.mark.parametrize(
    ("name", "mistake", "sentence"),
    [
        ("rows-account", lambda i: i.pop("kind"), "rows-account.kind is missing"),
        ("rows-account", lambda i: i["sku"].update(name="Standard"), "none of Standard_LRS"),
        ("rows-account", lambda i: i["sku"].update(tier="Standard"), "rows-account.sku.tier is no property of SkuArgs"),
        ("rows-account", lambda i: i.update(minimumTlsVersion="1.2"), "none of TLS1_0"),
        ("rows-account", lambda i: i.update(allowSharedKeyAccess="false"), "and should be bool"),
        ("vault", lambda i: i["properties"]["sku"].update(name="Standard"), "none of standard, premium"),
        ("vault", lambda i: i["properties"].pop("tenantId"), "vault.properties.tenantId is missing"),
        ("function", lambda i: i["siteConfig"].update(minTlsVersion="TLS1_2"), "none of 1.0, 1.1, 1.2, 1.3"),
        ("function", lambda i: i["siteConfig"]["appSettings"].append("A=1"), "is no object, but 'A=1'"),
        ("function-rows", lambda i: i.update(principalType="App"), "none of User, Group, ServicePrincipal"),
        ("packages", lambda i: i.update(publicAccess=None) or i.update(metadata={"a": 1}), "metadata.a is 1"),
    ],
)
def test_mistake_in_an_azure_input_is_named(name: str, mistake: Mistake, sentence: str) -> None:
    [problem] = wrong("azure", name, mistake)

    assert sentence in problem
