"""Removes a deployment, and asks every service what is left of it.

What is kept is decided by what was deployed, not by what wordup.toml says today: a resource whose deletion policy is
Retain stays, in its stack, so that the next deployment takes it up again.
"""

import time

from botocore.exceptions import ClientError

from infra.aws import names
from infra.aws.errors import code
from infra.aws.inventory import Client, deployed_template, deployments, present, stack_named
from infra.errors import DeploymentError
from infra.spec import DeploymentSpec
from infra.targets import Kept, Removal, Report

POLL_SECONDS = 1.0
TIMEOUT_SECONDS = 900.0
_WAIT = {"Delay": 2, "MaxAttempts": 150}
PROTECTED = "it was deployed as production; --delete-data removes it"
SHARED = "every CDK application of this account and region uses it"


def destroy(client: Client, spec: DeploymentSpec, report: Report, *, delete_data: bool, is_account: bool) -> Removal:
    """Raises DeploymentError where CloudFormation fails, botocore's errors where AWS refuses."""
    before = present(client, spec, is_account=is_account)
    *others_first, data = names.stacks(spec)
    for stack in others_first:
        _delete_stack(client, stack, report)
    resources = deployed_template(client, data).get("Resources", {})
    retains = any(resource.get("DeletionPolicy") == "Retain" for resource in resources.values())
    if retains and not delete_data:
        kept = [Kept(name, PROTECTED) for name in present(client, spec, is_account=is_account)]
    else:
        if retains:
            _unprotect(client, spec)
        _delete_stack(client, data, report)
        _delete_remains(client, spec)
        kept = []
    account, others = f"stack {names.ACCOUNT_STACK}", sorted(deployments(client) - {spec.name})
    if stack_named(client, names.ACCOUNT_STACK):
        if others:
            kept.append(Kept(account, f"{', '.join(others)} uses it"))
        else:
            _delete_stack(client, names.ACCOUNT_STACK, report)
            before.append(account)
    if stack_named(client, names.TOOLKIT):
        kept.append(Kept(f"stack {names.TOOLKIT}", SHARED))
    after = present(client, spec, is_account=is_account)
    meant = {each.name for each in kept}
    return Removal(
        removed=[name for name in before if name not in after],
        kept=kept,
        left=[name for name in after if name not in meant],
    )


def _delete_stack(client: Client, name: str, report: Report) -> None:
    """Deletes it and waits; nothing where there is none. It is followed by its id, which outlives its name."""
    if not (stack := stack_named(client, name)):
        return
    report.step(f"Removing {name}")
    cloudformation = client("cloudformation")
    cloudformation.delete_stack(StackName=name)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (now := stack_named(client, stack["StackId"])) and now["StackStatus"] != "DELETE_COMPLETE":
        if now["StackStatus"] == "DELETE_FAILED":
            why = now.get("StackStatusReason", "no reason given")
            raise DeploymentError(f"{name} cannot be removed: {why}", mend="Mend what AWS names, then destroy again.")
        if time.monotonic() > deadline:
            raise DeploymentError(f"{name} is not removed after {TIMEOUT_SECONDS:g} s.", mend="Look in CloudFormation.")
        time.sleep(POLL_SECONDS)


def _unprotect(client: Client, spec: DeploymentSpec) -> None:
    client("cloudformation").update_termination_protection(
        StackName=names.data_stack(spec), EnableTerminationProtection=False
    )
    dynamodb, table = client("dynamodb"), names.table(spec)
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
    dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig=_WAIT)


def _delete_remains(client: Client, spec: DeploymentSpec) -> None:
    """What the stack retained, or what a service made again after it."""
    logs = client("logs")
    dynamodb, table = client("dynamodb"), names.table(spec)
    deletions = (
        lambda: dynamodb.delete_table(TableName=table),
        # At once: the days of grace that a deleted secret has would block its name.
        lambda: client("secretsmanager").delete_secret(SecretId=names.secret(spec), ForceDeleteWithoutRecovery=True),
        lambda: logs.delete_log_group(logGroupName=names.function_log(spec)),
        lambda: logs.delete_log_group(logGroupName=names.access_log(spec)),
    )
    for delete in deletions:
        try:
            delete()
        except ClientError as error:
            if code(error) != "ResourceNotFoundException":
                raise
    dynamodb.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig=_WAIT)
