"""`[inference.NAME]`: what each platform is asked for, and what of it is refused before anything is made."""

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from infra import endpoints, inference
from infra.errors import DeploymentError
from infra.gcp import names as gcp_names
from infra.plan.graph import Graph
from infra.plan.offline import offline_graph
from infra.spec import ROOT, parse
from tests.infrastructure.aws_templates import SETTINGS, Templates, all_of
from tests.infrastructure.plans import of, one, plan, spec
from tests.infrastructure.vendor_tools import Tools
from wordup.errors import ConfigurationError

IMAGE = f"sha256:{'a' * 64}"
HUB = f"hub:acme/model@{'b' * 40}"
ENDPOINTS: dict[str, Any] = {
    "gcp": {
        "draw": {
            "on": "cloud_run",
            "model": "gs://models/sdxl",
            "image": IMAGE,
            "min_instances": 0,
            "max_instances": 3,
            "timeout_seconds": 600,
            "outputs": ["gs://pictures"],
        },
        "film": {"on": "vertex", "model": HUB, "image": IMAGE, "max_instances": 2},
    },
    "azure": {
        "draw": {"on": "azure_ml", "model": HUB, "image": IMAGE, "max_instances": 3, "timeout_seconds": 170},
    },
}


@functools.cache
def graph(cloud: str) -> Graph:
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "package.zip")
        package.write_bytes(b"the package's content is no part of the plan")
        return offline_graph(cloud, spec(cloud, inference=ENDPOINTS[cloud]), package)


def draw(**keys: Any) -> dict[str, Any]:
    return {"draw": {"on": "sagemaker", "model": HUB, **keys}}


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (draw(on="lambda"), "inference"),
        (draw(colour="red"), "inference.colour"),
        (draw(model="gs://other-cloud/model"), "inference.draw.model"),
        (draw(model="hub:acme/model"), "inference.draw.model"),
        (draw(on="vertex", model="gs://bucket/model"), "inference.draw.model"),
        (draw(timeout_seconds=56), "inference.draw.timeout_seconds"),
        (draw(on="azure_ml", timeout_seconds=180), "inference.draw.timeout_seconds"),
        (draw(min_instances=0), "inference.draw.min_instances"),
        (draw(min_instances=2), "inference.draw.max_instances"),
        (draw(inputs=["gs://bucket"]), "inference.draw.inputs"),
        (draw(outputs=["pictures"]), "inference.draw.outputs"),
        (draw(variables={"INFERENCE_TOKEN": "x"}), "inference.draw.variables"),
        (draw(variables={"INFERENCE_MAX_QUEUE": "9"}), "inference.draw.variables"),
        (draw(variables={"PATH": "/"}), "inference"),
        (draw(image="latest"), "inference"),
        ({"Draw": {"on": "sagemaker", "model": HUB}}, "inference"),
    ],
)
def test_wrong_table_names_its_key(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse({"inference": table})

    assert caught.value.setting.startswith(key)
    assert caught.value.mend


def test_variables_are_settings_of_the_server() -> None:
    documented = set(re.findall(r"^\| `(INFERENCE_\w+)`", (ROOT / "docs" / "inference.md").read_text(), re.MULTILINE))
    endpoint = parse(SETTINGS["endpoints"]).inference["draw"]

    assert documented
    assert inference.variables(endpoint).keys() <= documented


def test_nothing_is_made_where_no_table_stands(synthesized: Templates) -> None:
    assert "wordup-inference" not in synthesized("production")
    assert of(plan("gcp"), "gcp:cloudrunv2/service:Service") == []
    assert of(plan("azure"), "azure-native:machinelearningservices:Workspace") == []


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_without_an_image_only_its_registry_is_made(cloud: str) -> None:
    empty = {name: table | {"image": ""} for name, table in ENDPOINTS[cloud].items()}
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "package.zip")
        package.write_bytes(b"bytes")
        bare = offline_graph(cloud, spec(cloud, inference=empty), package)

    added = {resource.name for resource in bare.resources} - {resource.name for resource in plan(cloud).resources}
    # The APIs that endpoints will call are switched on with the registry.
    services = {f"{name}-service" for name in ("aiplatform", "monitoring")} if cloud == "gcp" else set[str]()
    assert added == {"inference", "inference-images" if cloud == "gcp" else "images"} | services


def test_sagemaker_endpoint_has_the_image_the_model_and_the_time_it_needs(synthesized: Templates) -> None:
    found = {"x": synthesized("endpoints")["wordup-inference"]}
    mounted, hub = (model["Properties"] for model in all_of(found, "AWS::SageMaker::Model"))
    draws, films = (c["Properties"] for c in all_of(found, "AWS::SageMaker::EndpointConfig"))
    variant = draws["ProductionVariants"][0]

    assert f"@{IMAGE}" in str(mounted["PrimaryContainer"]["Image"])
    assert mounted["PrimaryContainer"]["ModelDataSource"]["S3DataSource"] == {
        "S3Uri": "s3://models/sdxl/",
        "S3DataType": "S3Prefix",
        "CompressionType": "None",
    }
    assert "INFERENCE_MODEL" not in mounted["PrimaryContainer"]["Environment"]
    assert hub["PrimaryContainer"]["Environment"]["INFERENCE_MODEL"] == f"hub:acme/wan@{'b' * 40}"
    assert variant["ContainerStartupHealthCheckTimeoutInSeconds"] == inference.START_SECONDS
    assert variant["RoutingConfig"] == {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}
    assert "AsyncInferenceConfig" not in draws
    assert films["AsyncInferenceConfig"]["ClientConfig"] == {"MaxConcurrentInvocationsPerInstance": 24}


def test_sagemaker_scales_by_what_waits_and_to_nothing_only_when_asynchronous(synthesized: Templates) -> None:
    found = {"x": synthesized("endpoints")["wordup-inference"]}
    targets = {
        t["Properties"]["ResourceId"]: t["Properties"]
        for t in all_of(found, "AWS::ApplicationAutoScaling::ScalableTarget")
    }

    assert {name: (t["MinCapacity"], t["MaxCapacity"]) for name, t in targets.items()} == {
        "endpoint/wordup-draw/variant/live": (1, 4),
        "endpoint/wordup-film/variant/live": (0, 1),
    }
    policies = str(all_of(found, "AWS::ApplicationAutoScaling::ScalingPolicy"))
    for metric in (
        "SageMakerVariantConcurrentRequestsPerModelHighResolution",
        "ApproximateBacklogSizePerInstance",
    ):
        assert metric in policies
    assert "HasBacklogWithoutCapacity" in str(all_of(found, "AWS::CloudWatch::Alarm"))


def test_sagemaker_role_may_read_its_model_and_write_its_outputs_and_nothing_else(synthesized: Templates) -> None:
    found = {"x": synthesized("endpoints")["wordup-inference"]}
    [role] = [
        r
        for r in all_of(found, "AWS::IAM::Role")
        if "draw" not in str(r["Properties"].get("RoleName")) and "models/sdxl" in str(r)
    ]
    statements = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    allowed = {str(s["Action"]): s["Resource"] for s in statements}

    assert allowed["s3:GetObject"] == "arn:aws:s3:::models/sdxl/*"
    assert allowed["s3:PutObject"] == "arn:aws:s3:::pictures/out/*"
    assert [action for action, resource in allowed.items() if resource == "*"] == ["ecr:GetAuthorizationToken"]


def test_sagemaker_alarms_reach_the_operator_in_production(synthesized: Templates) -> None:
    found = {"x": synthesized("endpoints")["wordup-inference"]}
    alarms = [a["Properties"] for a in all_of(found, "AWS::CloudWatch::Alarm") if "AlarmDescription" in a["Properties"]]

    assert {a["MetricName"] for a in alarms} >= {"Invocation5XXErrors", "ModelLatency", "ApproximateAgeOfOldestRequest"}
    ours = [a for a in alarms if a["MetricName"] != "HasBacklogWithoutCapacity"]
    assert all("wordup-alarms" in str(a["AlarmActions"]) for a in ours)


def test_cloud_run_service_has_a_gpu_and_the_routes_of_the_server() -> None:
    service = one(graph("gcp"), "draw-service").inputs
    template = service["template"]
    [container] = template["containers"]

    assert template["nodeSelector"] == {"accelerator": "nvidia-l4"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"].endswith(f"/wordup-inference/inference@{IMAGE}")
    assert container["startupProbe"]["httpGet"] == {"path": "/readyz", "port": 8080}
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8080}
    assert (template["timeout"], template["maxInstanceRequestConcurrency"]) == ("605s", 24)
    assert (template["scaling"]["minInstanceCount"], template["scaling"]["maxInstanceCount"]) == (0, 3)
    assert {each["name"]: each["value"] for each in container["envs"]}["INFERENCE_MODEL"] == "gs://models/sdxl"


def test_cloud_run_service_is_nobodys_but_whom_the_operator_names() -> None:
    members = [r.inputs["member"] for r in graph("gcp").resources if "member" in r.inputs]

    assert members
    assert not {"allUsers", "allAuthenticatedUsers"} & set(members)


def test_cloud_run_account_reads_its_model_and_adds_outputs() -> None:
    runner = f"{gcp_names.inference_account(spec('gcp'), 'draw')}@"
    grants = [r.inputs for r in graph("gcp").resources if runner in str(r.inputs.get("member"))]

    assert {(g["bucket"], g["role"]) for g in grants} == {
        ("models", "roles/storage.objectViewer"),
        ("pictures", "roles/storage.objectCreator"),
    }
    [model] = [g for g in grants if g["bucket"] == "models"]
    assert model["condition"]["expression"] == 'resource.name.startsWith("projects/_/buckets/models/objects/sdxl/")'


def test_vertex_endpoint_is_dedicated_and_knows_the_routes_of_the_server() -> None:
    endpoint = one(graph("gcp"), "film-endpoint").inputs
    container = endpoint["modelConfig"]["containerSpec"]
    resources = endpoint["deployConfig"]["dedicatedResources"]

    assert endpoint["endpointConfig"]["dedicatedEndpointEnabled"] is True
    assert endpoint["huggingFaceModelId"] == "acme/model"
    assert (container["predictRoute"], container["healthRoute"]) == ("/predict", "/health")
    assert container["ports"] == [{"containerPort": 8080}]
    assert resources["machineSpec"] == {
        "machineType": "g2-standard-8",
        "acceleratorType": "NVIDIA_L4",
        "acceleratorCount": 1,
    }
    assert (resources["minReplicaCount"], resources["maxReplicaCount"]) == (1, 2)


def test_azure_ml_deployment_sets_what_azure_would_set_too_low() -> None:
    deployment = one(graph("azure"), "draw-deployment").inputs["properties"]
    environment = one(graph("azure"), "draw-environment").inputs["properties"]

    # Five seconds and one request at a time, where nobody says otherwise.
    assert deployment["requestSettings"]["requestTimeout"] == "PT180S"
    assert deployment["requestSettings"]["maxConcurrentRequestsPerInstance"] == 24
    assert environment["inferenceConfig"] == {
        "livenessRoute": {"path": "/livez", "port": 8080},
        "readinessRoute": {"path": "/readyz", "port": 8080},
        "scoringRoute": {"path": "/score", "port": 8080},
    }
    assert environment["image"].endswith(f"/inference@{IMAGE}")


def test_azure_ml_endpoint_knows_callers_by_identity_and_its_registry_has_no_password() -> None:
    found = graph("azure")

    assert one(found, "draw-endpoint").inputs["properties"]["authMode"] == "AADToken"
    assert one(found, "draw-endpoint").inputs["properties"]["publicNetworkAccess"] == "Disabled"
    assert one(found, "images").inputs["adminUserEnabled"] is False
    assert one(found, "ml-workspace").inputs["systemDatastoresAuthMode"] == "Identity"


def test_endpoint_is_found_where_its_cloud_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(tmp_path, monkeypatch)
    resource = "projects/word-up-demo/locations/us-central1/endpoints/7"
    azure_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/x"
    outputs = {"url": "u", "inference_draw": "https://draw.run.app", "inference_film": resource}
    tools.answer("pulumi", "^stack ls", [{"name": "wordup-gcp"}, {"name": "wordup-azure"}])
    tools.answer("pulumi", "^stack output.*gcp", outputs)
    tools.answer("pulumi", "^stack output.*azure", {"url": "u", "inference_draw": azure_id})
    tools.answer(
        "gcloud", "^ai endpoints describe projects/word-up-demo/", "7.us-central1-1.prediction.vertexai.goog\n"
    )
    tools.answer("az", "^resource show --ids /subscriptions/s/", {"properties": {"scoringUri": "https://x/score"}})
    gcp, azure = (spec(cloud, inference=ENDPOINTS[cloud]) for cloud in ("gcp", "azure"))

    assert endpoints.find(gcp, "draw").arguments["url"] == "https://draw.run.app/score"
    assert endpoints.find(gcp, "film") == (
        "vertex",
        {"url": f"https://7.us-central1-1.prediction.vertexai.goog/v1/{resource}"},
    )
    assert endpoints.find(azure, "draw") == ("azure_ml", {"url": "https://x/score"})
    assert endpoints.find(parse(SETTINGS["endpoints"]), "draw") == (
        "sagemaker",
        {"name": "wordup-draw", "region": "us-east-1"},
    )
    with pytest.raises(DeploymentError, match="answers into a bucket"):
        endpoints.find(parse(SETTINGS["endpoints"]), "film")


def test_endpoint_that_is_not_deployed_says_how_it_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = Tools(tmp_path, monkeypatch)
    tools.answer("pulumi", "^stack ls", [])

    with pytest.raises(DeploymentError) as caught:
        endpoints.find(spec("gcp", inference=ENDPOINTS["gcp"]), "draw")
    assert "wordup deploy --to gcp" in caught.value.mend
