"""The name of everything, from the deployment's own. Fixed, so that the stacks need nothing from one another's
outputs and an operator's tools find the table without asking; `infra.spec.environment` uses the same."""

from infra import inference
from infra.spec import DeploymentSpec

# One a region and account, shared by every deployment there.
ACCOUNT_STACK = "wordup-account"
# `cdk bootstrap` makes it, for every CDK application.
TOOLKIT = "CDKToolkit"
# The tag that marks a stack as a deployment's, with its name.
DEPLOYMENT_TAG = "wordup:deployment"
STAGE = "live"
# The version of the function that the API calls.
ALIAS = "live"
# The namespace of the metrics that the bot writes into its log, and the dimension that tells deployments apart.
METRICS = "WordUpBot"
DEPLOYMENT_DIMENSION = "Deployment"
# What there may be alarms for; `docs/operations.md` has a section for each.
ALARMS = (
    "server-errors",
    "slow-turns",
    "throttles",
    "function-errors",
    "turn-errors",
    "budget-refused",
    "daily-spend",
    "model-shutdown",
)


def data_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-data"


def api_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-api"


def operations_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-operations"


def guard_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-guard"


def edge_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-edge"


def inference_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-inference"


def stacks(spec: DeploymentSpec) -> list[str]:
    """Every stack that a deployment may have, in the order in which they are removed."""
    return [
        inference_stack(spec),
        edge_stack(spec),
        api_stack(spec),
        guard_stack(spec),
        operations_stack(spec),
        data_stack(spec),
    ]


def account_only(spec: DeploymentSpec) -> dict[str, str]:
    """The deployment's stacks that the embedded cloud cannot take, and what is in them."""
    found: dict[str, str] = {}
    if spec.profile == "production":
        found[guard_stack(spec)] = "gradual deployment by CodeDeploy, the AWS Budget, the alarm before a model's end"
    if has_edge(spec):
        found[edge_stack(spec)] = "the firewall, your own domain name"
    if inference.on(spec.inference, "aws"):
        found[inference_stack(spec)] = "the GPU endpoints"
    return found


def has_firewall(spec: DeploymentSpec) -> bool:
    return spec.profile == "production" and spec.aws.waf


def has_edge(spec: DeploymentSpec) -> bool:
    return has_firewall(spec) or bool(spec.aws.domain)


def endpoint(spec: DeploymentSpec, name: str) -> str:
    """Of a SageMaker endpoint; `images` is its registry's."""
    return f"{spec.name}-{name}"


def table(spec: DeploymentSpec) -> str:
    return spec.name


def secret(spec: DeploymentSpec) -> str:
    return spec.name


def function(spec: DeploymentSpec) -> str:
    return spec.name


def function_log(spec: DeploymentSpec) -> str:
    return f"/aws/lambda/{spec.name}"


def access_log(spec: DeploymentSpec) -> str:
    return f"/aws/apigateway/{spec.name}"


def topic(spec: DeploymentSpec) -> str:
    return f"{spec.name}-alarms"


def dashboard(spec: DeploymentSpec) -> str:
    return spec.name


def alarm(spec: DeploymentSpec, kind: str) -> str:
    return f"{spec.name}-{kind}"


def web_acl(spec: DeploymentSpec) -> str:
    return spec.name


def rollout(spec: DeploymentSpec) -> str:
    """Of CodeDeploy's application and of the deployment group in it."""
    return spec.name


def budget(spec: DeploymentSpec) -> str:
    return spec.name
