"""The function's published versions: which the API calls, and which are kept to go back to.

A version that is kept costs nothing by itself, but with SnapStart its snapshot is billed.
"""

from botocore.exceptions import ClientError

from infra.aws import names
from infra.aws.errors import code
from infra.aws.inventory import Client
from infra.spec import DeploymentSpec

# The one that answers and the one before it.
KEPT = 2


def prune(client: Client, spec: DeploymentSpec) -> list[str]:
    """Deletes all but the newest and whatever the alias points to; gives the numbers of the deleted."""
    function, lambda_ = names.function(spec), client("lambda")
    try:
        alias = lambda_.get_alias(FunctionName=function, Name=names.ALIAS)
    except ClientError as error:
        if code(error) != "ResourceNotFoundException":
            raise
        return []
    weights = alias.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    pages = lambda_.get_paginator("list_versions_by_function").paginate(FunctionName=function)
    numbers = [each["Version"] for page in pages for each in page["Versions"] if each["Version"] != "$LATEST"]
    newest = sorted(numbers, key=int)[-KEPT:]
    pruned = [number for number in numbers if number not in {*newest, alias["FunctionVersion"], *weights}]
    for number in pruned:
        lambda_.delete_function(FunctionName=function, Qualifier=number)
    return pruned
