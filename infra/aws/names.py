"""The name of everything, from the deployment's own. Fixed, so that the stacks need nothing from one another's
outputs and an operator's tools find the table without asking; `infra.spec.environment` uses the same."""

from infra.spec import DeploymentSpec

# One a region and account, shared by every deployment there.
ACCOUNT_STACK = "wordup-account"
# `cdk bootstrap` makes it, for every CDK application.
TOOLKIT = "CDKToolkit"
# The tag that marks a stack as a deployment's, with its name.
DEPLOYMENT_TAG = "wordup:deployment"
STAGE = "live"


def data_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-data"


def api_stack(spec: DeploymentSpec) -> str:
    return f"{spec.name}-api"


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
