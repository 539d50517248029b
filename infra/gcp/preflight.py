"""Whether Google Cloud can be deployed to: the tools, the logins, the project, the region."""

from collections.abc import Iterator

from infra.checks import Check, answer, asked, pulumi, tool
from infra.command import run
from infra.errors import DeploymentError
from infra.spec import DeploymentSpec


def checks(spec: DeploymentSpec) -> Iterator[Check]:
    yield from pulumi(spec)
    cli = tool("gcloud", ["version"], r"Google Cloud SDK (\d+)\.(\d+)\.\d+", (450, 0))
    yield cli
    if not cli.ok:
        return
    # Pulumi and Google's libraries use these credentials, not those of `gcloud auth login`.
    login = asked("credentials", _credentials)
    yield login
    if login.ok:
        project = asked("project", lambda: _project(spec))
        yield project
        if project.ok:
            yield asked("billing", lambda: _billing(spec))
            yield asked("region", lambda: _region(spec))


def _credentials() -> str:
    try:
        run(["gcloud", "auth", "application-default", "print-access-token", "--quiet"])
    except DeploymentError as error:
        raise DeploymentError(error.sentence, mend="gcloud auth application-default login") from error
    return "application default"


def _project(spec: DeploymentSpec) -> str:
    if not spec.gcp.project:
        raise DeploymentError("wordup.toml names no project.", mend="Set project under [gcp] in wordup.toml.")
    told = answer(["gcloud", "projects", "describe", spec.gcp.project, "--format=json", "--quiet"])
    if told["lifecycleState"] != "ACTIVE":
        raise DeploymentError(
            f"{spec.gcp.project} is {told['lifecycleState']}.", mend=f"gcloud projects undelete {spec.gcp.project}"
        )
    return f"{told['projectId']} ({told['projectNumber']})"


def _billing(spec: DeploymentSpec) -> str:
    told = answer(["gcloud", "billing", "projects", "describe", spec.gcp.project, "--format=json", "--quiet"])
    if not told.get("billingEnabled"):
        raise DeploymentError(
            "The project has no billing account, and Cloud Functions wants one.",
            mend=f"gcloud billing projects link {spec.gcp.project} --billing-account=ACCOUNT",
        )
    return told["billingAccountName"]


def _region(spec: DeploymentSpec) -> str:
    """The one that has both: few regions lack functions, more lack Firestore."""
    command = ["gcloud", "firestore", "locations", "list", "--project", spec.gcp.project, "--format=json", "--quiet"]
    try:
        places = {place["locationId"] for place in answer(command)}
    except DeploymentError as error:
        if "SERVICE_DISABLED" in error.sentence:
            return f"{spec.gcp.region}; the deployment will tell, it switches Firestore's API on first"
        raise
    if spec.gcp.region not in places:
        raise DeploymentError(
            f"Firestore is not in {spec.gcp.region}.",
            mend=f"Set region under [gcp] in wordup.toml to one of: {', '.join(sorted(places))}.",
        )
    return spec.gcp.region
