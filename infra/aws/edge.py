"""What stands before the API: the firewall of `production`, and a domain name of the operator's own."""

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

from infra.aws import names
from infra.aws.api import ENDPOINT_ACCESS, TLS
from infra.spec import DeploymentSpec

# AWS's groups of rules, each with those of its rules that only count. These read the body, and the body is what
# somebody asks a bot about clouds: 16,000 characters, with code, addresses and attacks to explain. Their names:
# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-baseline.html
MANAGED_RULES = {
    "AWSManagedRulesAmazonIpReputationList": (),
    "AWSManagedRulesCommonRuleSet": (
        "CrossSiteScripting_BODY",
        "EC2MetaDataSSRF_BODY",
        "GenericLFI_BODY",
        "GenericRFI_BODY",
        "SizeRestrictions_BODY",
    ),
    "AWSManagedRulesKnownBadInputsRuleSet": (
        "JavaDeserializationRCE_BODY",
        "Log4JRCE_BODY",
        "ReactJSRCE_BODY",
    ),
}
TOO_MANY = '{"code": "rate_limited", "title": "Too many requests.", "status": 429}'


class EdgeStack(Stack):
    """For an API that is there already."""

    def __init__(self, scope: Construct, spec: DeploymentSpec, *, region: str, stage: apigateway.Stage) -> None:
        super().__init__(
            scope,
            names.edge_stack(spec),
            description=f"Word Up! Bot {spec.name}: firewall and domain name",
            env={"region": region},
        )
        if names.has_firewall(spec):
            self._firewall(spec, stage)
        if spec.aws.domain:
            self._domain(spec, stage)

    def _firewall(self, spec: DeploymentSpec, stage: apigateway.Stage) -> None:
        acl = wafv2.CfnWebACL(
            self,
            "WebACL",
            name=names.web_acl(spec),
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visibility(names.web_acl(spec)),
            custom_response_bodies={
                "TooMany": wafv2.CfnWebACL.CustomResponseBodyProperty(content=TOO_MANY, content_type="APPLICATION_JSON")
            },
            rules=[_rate_rule(spec), *(_managed_rule(order, name) for order, name in enumerate(MANAGED_RULES, 1))],
        )
        wafv2.CfnWebACLAssociation(self, "Association", resource_arn=stage.stage_arn, web_acl_arn=acl.attr_arn)

    def _domain(self, spec: DeploymentSpec, stage: apigateway.Stage) -> None:
        domain = apigateway.CfnDomainName(
            self,
            "Domain",
            domain_name=spec.aws.domain,
            regional_certificate_arn=spec.aws.certificate_arn,
            endpoint_configuration=apigateway.CfnDomainName.EndpointConfigurationProperty(types=["REGIONAL"]),
            security_policy=TLS,
            endpoint_access_mode=ENDPOINT_ACCESS,
        )
        apigateway.CfnBasePathMapping(
            self, "Mapping", domain_name=domain.ref, rest_api_id=stage.rest_api.rest_api_id, stage=stage.stage_name
        )
        if spec.aws.hosted_zone_id:
            for kind in ("A", "AAAA"):
                route53.CfnRecordSet(
                    self,
                    f"Address{kind}",
                    hosted_zone_id=spec.aws.hosted_zone_id,
                    name=spec.aws.domain,
                    type=kind,
                    alias_target=route53.CfnRecordSet.AliasTargetProperty(
                        dns_name=domain.attr_regional_domain_name, hosted_zone_id=domain.attr_regional_hosted_zone_id
                    ),
                )
        # Where a CNAME of the operator's points, whose zone is elsewhere.
        CfnOutput(self, "DomainTarget", value=domain.attr_regional_domain_name)


def _rate_rule(spec: DeploymentSpec) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name="Rate",
        priority=0,
        action=wafv2.CfnWebACL.RuleActionProperty(
            block=wafv2.CfnWebACL.BlockActionProperty(
                custom_response=wafv2.CfnWebACL.CustomResponseProperty(
                    response_code=429,
                    custom_response_body_key="TooMany",
                    response_headers=[wafv2.CfnWebACL.CustomHTTPHeaderProperty(name="retry-after", value="300")],
                )
            )
        ),
        statement=wafv2.CfnWebACL.StatementProperty(
            rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                limit=spec.aws.waf_requests, aggregate_key_type="IP", evaluation_window_sec=300
            )
        ),
        visibility_config=_visibility("Rate"),
    )


def _managed_rule(priority: int, name: str) -> wafv2.CfnWebACL.RuleProperty:
    return wafv2.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
        statement=wafv2.CfnWebACL.StatementProperty(
            managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[
                    wafv2.CfnWebACL.RuleActionOverrideProperty(
                        name=rule, action_to_use=wafv2.CfnWebACL.RuleActionProperty(count={})
                    )
                    for rule in MANAGED_RULES[name]
                ],
            )
        ),
        visibility_config=_visibility(name),
    )


def _visibility(metric: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    """Without samples: a sampled request is kept with its headers, the session token among them."""
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=metric, sampled_requests_enabled=False
    )
