import ast
import hashlib
from pathlib import Path

import pytest
from google.cloud.firestore import AsyncClient

from infra import package
from infra.gcp import names
from infra.gcp.api import ENTRY_POINT, RUNTIME
from infra.plan.offline import offline_graph
from infra.spec import ROOT, environment
from tests.emulators import node_firestore_server
from tests.infrastructure.plans import of, one, plan, spec
from wordup.stores.base import Put
from wordup.stores.firestore import FirestoreStore

MEMBER = "serviceAccount:wordup-{}@offline.iam.gserviceaccount.com"


def test_function_gets_every_setting_and_no_other_variable() -> None:
    service = one(plan("gcp"), "function").inputs["serviceConfig"]

    assert service["environmentVariables"] == environment(spec("gcp"), "gcp")


def test_function_runs_the_entry_point_on_the_python_that_is_tested() -> None:
    build = one(plan("gcp"), "function").inputs["buildConfig"]
    module = ast.parse((ROOT / "functions" / "main.py").read_text())

    assert build["entryPoint"] == ENTRY_POINT
    assert ENTRY_POINT in {
        node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert build["runtime"] == RUNTIME == "python" + "".join(map(str, package.PYTHON))


def test_function_is_sized_by_wordup_toml_and_its_archive_named_by_its_content(tmp_path: Path) -> None:
    archive = tmp_path / "package.zip"
    archive.write_bytes(b"bytes")
    sized = {"memory_mb": 1024, "concurrency": 7, "max_instances": 3, "region": "europe-west1"}
    graph = offline_graph("gcp", spec("gcp", gcp=sized, bot={"stream_timeout_seconds": 60}), archive)
    service = one(graph, "function").inputs["serviceConfig"]

    assert service["availableMemory"] == "1024Mi"
    assert service["maxInstanceRequestConcurrency"] == 7
    assert (service["minInstanceCount"], service["maxInstanceCount"]) == (0, 3)
    assert service["timeoutSeconds"] == 75
    assert one(graph, "archive").inputs["name"] == hashlib.sha256(b"bytes").hexdigest() + ".zip"


def test_function_may_use_its_own_database_and_secret_and_nothing_else() -> None:
    runner = MEMBER.format("run")
    grants = [resource for resource in plan("gcp").resources if resource.inputs.get("member") == runner]

    assert one(plan("gcp"), "function").inputs["serviceConfig"]["serviceAccountEmail"] in runner
    assert {grant.inputs["role"] for grant in grants} == {"roles/datastore.user", "roles/secretmanager.secretAccessor"}
    assert one(plan("gcp"), "runner-rows").inputs["condition"]["expression"] == (
        'resource.name == "projects/word-up-demo/databases/wordup"'
    )
    assert one(plan("gcp"), "runner-secret").inputs["secretId"].endswith("/secrets/wordup")


def test_image_is_built_by_an_account_that_cannot_read_what_the_bot_reads() -> None:
    builder = MEMBER.format("build")
    roles = {resource.inputs["role"] for resource in plan("gcp").resources if resource.inputs.get("member") == builder}

    assert roles == {"roles/logging.logWriter", "roles/artifactregistry.writer", "roles/storage.objectViewer"}
    assert one(plan("gcp"), "function").inputs["buildConfig"]["serviceAccount"].endswith(builder.partition(":")[2])


async def test_every_field_that_firestore_writes_is_indexed_only_where_it_is_queried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with node_firestore_server(tmp_path) as url:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", url.removeprefix("http://"))
        store = FirestoreStore("wordup", "demo")
        await store.write("u:x", [Put(sk="conv:1", data={"title": "x"}, counts={"turns": 1}, expires_at=2**32)])
        await store.close()
        client = AsyncClient(project="demo", database="wordup")
        [document] = await client.collection(names.ROWS).get()
        client.close()
    fields = of(plan("gcp"), "gcp:firestore/field:Field")

    assert {field.inputs["collection"] for field in fields} == {names.ROWS}
    assert {field.inputs["field"] for field in fields} == (document.to_dict() or {}).keys() - {"key"}
    assert [field.inputs["indexConfig"] for field in fields] == [{"indexes": []}] * len(fields)


def test_rows_expire_by_the_timestamp_that_they_carry() -> None:
    expiring = [field for field in of(plan("gcp"), "gcp:firestore/field:Field") if "ttlConfig" in field.inputs]

    assert [(field.inputs["collection"], field.inputs["field"]) for field in expiring] == [("rows", "expires_at")]


def test_security_rules_deny_everything_in_that_database() -> None:
    release = one(plan("gcp"), "rules-release").inputs

    assert release["name"] == f"cloud.firestore/{one(plan('gcp'), 'database').inputs['name']}"
    assert one(plan("gcp"), "rules").inputs["source"]["files"][0]["content"].count("allow") == 1
    assert "allow read, write: if false;" in one(plan("gcp"), "rules").inputs["source"]["files"][0]["content"]


@pytest.mark.parametrize("public", [True, False])
def test_everybody_may_call_only_where_wordup_toml_says(public: bool) -> None:
    graph = plan("gcp", public=public)

    assert [resource.name for resource in graph.resources if resource.inputs.get("member") == "allUsers"] == (
        ["public-invoker"] if public else []
    )


@pytest.mark.parametrize(
    ("profile", "deletable", "keep"), [("dev", False, False), ("production", False, True), ("production", True, False)]
)
def test_only_production_keeps_its_data(profile: str, deletable: bool, keep: bool) -> None:
    graph = plan("gcp", profile, deletable=deletable)
    database = one(graph, "database").inputs

    assert {r.name for r in graph.resources if r.protect} == (
        {r.name for r in graph.resources if r.parent == "data"} if keep else set()
    )
    assert database["deleteProtectionState"] == f"DELETE_PROTECTION_{'ENABLED' if keep else 'DISABLED'}"
    assert database["pointInTimeRecoveryEnablement"] == f"POINT_IN_TIME_RECOVERY_{'ENABLED' if keep else 'DISABLED'}"


def test_every_api_is_on_before_anything_that_calls_it() -> None:
    graph = plan("gcp")
    called = {resource.type.split(":")[1].split("/")[0] for resource in graph.resources if resource.type[:4] == "gcp:"}
    modules = {"cloudfunctionsv2": "cloudfunctions", "cloudrunv2": "run", "projects": "cloudresourcemanager"}
    modules |= {"serviceaccount": "iam"}
    provider = one(graph, "google-cloud")

    assert {f"{modules.get(module, module)}-service" for module in called} <= set(provider.depends_on)
    assert [r.name for r in graph.resources if r.parent in ("data", "api") and provider.name not in r.depends_on] == []


@pytest.mark.parametrize("name", ["word", "a2345678901234567890"])
def test_names_keep_googles_limits(name: str) -> None:
    deployment = spec("gcp", name=name, gcp={"project": "a" + "2" * 29})

    assert 4 <= len(names.database(deployment)) <= 63
    assert 3 <= len(names.source_bucket(deployment)) <= 63
    assert all(6 <= len(f"{name}-{purpose}") <= 30 for purpose in ("build", "run"))
