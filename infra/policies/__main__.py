"""The policies of `infra.plan.policies` as a pack of Pulumi's: `pulumi preview --policy-pack infra/policies`.

`--policy-pack-config` tells it in JSON what wordup.toml says: `{"nothing-public": {"public": true}}`.
"""

from collections.abc import Callable, Sequence

from pulumi_policy import (
    EnforcementLevel,
    PolicyConfigSchema,
    PolicyPack,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)

from infra.plan.policies import POLICIES, Declared, Policy

# The only setting; where it is not given, nothing may be public.
SCHEMA = PolicyConfigSchema(properties={"public": {"type": "boolean", "default": False}})


def on_each(policy: Policy) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Declared(args.name, args.resource_type, args.props)
        for found in policy.check([resource], bool(args.get_config().get("public"))):
            report(f"{found.resource} {found.sentence}", args.urn)

    return validate


def on_all(policy: Policy) -> Callable[[StackValidationArgs, ReportViolation], None]:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        urns = {resource.name: resource.urn for resource in args.resources}
        resources: Sequence[Declared] = [Declared(r.name, r.resource_type, r.props) for r in args.resources]
        for found in policy.check(resources, bool(args.get_config().get("public"))):
            report(f"{found.resource} {found.sentence}", urns[found.resource])

    return validate


PolicyPack(
    name="wordup",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[
        StackValidationPolicy(policy.name, policy.description, on_all(policy), config_schema=SCHEMA)
        if policy.whole
        else ResourceValidationPolicy(policy.name, policy.description, on_each(policy), config_schema=SCHEMA)
        for policy in POLICIES
    ],
)
