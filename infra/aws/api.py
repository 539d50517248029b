"""What serves: the function and the API in front of it. Holds nothing, so it can be removed and made again."""

import json
from typing import cast

from aws_cdk import CfnCodeDeployLambdaAliasUpdate, CfnOutput, CfnUpdatePolicy, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.aws import limits, names, rights
from infra.package import Architecture
from infra.spec import DeploymentSpec, environment

# TLS 1.2 and 1.3 with ciphers that keep their secrets, and a name in the handshake that is the one in the request.
TLS = "SecurityPolicy_TLS13_1_2_PQ_2025_09"
ENDPOINT_ACCESS = "STRICT"
# No query, header, body or address: an access log tells what was asked of the API, not by whom or with which token.
ACCESS_LOG = {
    "request_id": "$context.requestId",
    "time": "$context.requestTime",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "milliseconds": "$context.responseLatency",
    "function_milliseconds": "$context.integrationLatency",
    "error": "$context.error.messageString",
    "waf_status": "$context.waf.status",
    "tls": "$context.tlsVersion",
}
# What API Gateway answers by itself, in the words of the bot's own problems: status, code, sentence.
PROBLEMS = {
    "BAD_REQUEST_BODY": (400, "malformed_json", "The body is not one JSON object."),
    "WAF_FILTERED": (403, "bad_request", "The firewall before the bot refused the request."),
    "THROTTLED": (429, "rate_limited", "Too many requests."),
    "REQUEST_TOO_LARGE": (413, "too_large", "The request body is too large."),
    "INTEGRATION_TIMEOUT": (504, "provider_timeout", "The answer took too long; nothing was recorded."),
    "INTEGRATION_FAILURE": (503, "unavailable", "The bot cannot be reached."),
    "DEFAULT_4XX": (None, "bad_request", "The request cannot be understood."),
    "DEFAULT_5XX": (None, "internal_error", "Something went wrong on our side."),
}
# Those of the bot's own answers.
PROBLEM_HEADERS = {
    "Content-Type": "application/problem+json",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}
# Starts our runtime in the place of Lambda's own, which cannot stream: docs/adr/0005-a-runtime-of-our-own-on-lambda.md
WRAPPER = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/bootstrap"}


class ApiStack(Stack):
    """Raises ConfigurationError where settings do not hang together.

    The embedded cloud's API Gateway has no STREAM, and its Lambda no wrappers: there the same runtime answers whole, as
    a custom one, which Lambda takes no snapshot of.

    Casts where the CDK's classes name a parameter otherwise than the protocol that they implement.
    """

    def __init__(
        self,
        scope: Construct,
        spec: DeploymentSpec,
        *,
        region: str,
        code: lambda_.Code,
        architecture: Architecture,
        embedded: bool,
    ) -> None:
        limits.check(spec)
        super().__init__(
            scope,
            names.api_stack(spec),
            description=f"Word Up! Bot {spec.name}: function and API",
            env={"region": region},
        )
        self._spec = spec
        self._production = spec.profile == "production"
        self._embedded = embedded
        function = self._function(code, architecture)
        self._alias = lambda_.Alias(
            self, "Live", alias_name=names.ALIAS, version=cast(lambda_.IVersion, function.current_version)
        )
        if self._production and not embedded:  # CodeDeploy brings a new version in, as the guard's stack says
            cast(lambda_.CfnAlias, self._alias.node.default_child).cfn_options.update_policy = CfnUpdatePolicy(
                code_deploy_lambda_alias_update=CfnCodeDeployLambdaAliasUpdate(
                    application_name=names.rollout(spec), deployment_group_name=names.rollout(spec)
                )
            )
        api = self._api()
        self.stage = api.deployment_stage
        CfnOutput(self, "ApiId", value=api.rest_api_id)

    def _function(self, code: lambda_.Code, architecture: Architecture) -> lambda_.Function:
        spec = self._spec
        function = lambda_.Function(
            self,
            "Function",
            function_name=names.function(spec),
            runtime=lambda_.Runtime.PROVIDED_AL2023 if self._embedded else lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64 if architecture == "arm64" else lambda_.Architecture.X86_64,
            handler="lambda_function.handler",
            code=code,
            memory_size=spec.aws.memory_mb,
            timeout=Duration.seconds(limits.function_seconds(spec)),
            environment=environment(spec, "aws") | ({"WORDUP_RESPONSE_MODE": "buffer"} if self._embedded else WRAPPER),
            role=cast(iam.IRole, rights.role(self, spec)),
            log_group=logs.LogGroup.from_log_group_name(self, "FunctionLog", names.function_log(spec)),
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if self._production and not self._embedded else None,
            reserved_concurrent_executions=spec.aws.reserved_concurrency or None if self._production else None,
            # The version before stays, so that the alias can be set back to it; `wordup deploy` prunes the older ones.
            current_version_options=lambda_.VersionOptions(removal_policy=RemovalPolicy.RETAIN),
        )
        resource = cast(lambda_.CfnFunction, function.node.default_child)
        if spec.aws.subnet_ids:
            resource.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
                subnet_ids=spec.aws.subnet_ids, security_group_ids=spec.aws.security_group_ids
            )
        if self._production:
            resource.tracing_config = lambda_.CfnFunction.TracingConfigProperty(mode="Active")
        return function

    def _api(self) -> apigateway.RestApi:
        spec = self._spec
        access_log = logs.LogGroup.from_log_group_name(self, "AccessLog", names.access_log(spec))
        api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=spec.name,
            # A regional endpoint may idle for five minutes, an edge one for 30 seconds.
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            # A stream is bytes. Of a whole answer the page's packed files would arrive as base64 without this.
            binary_media_types=["*/*"] if self._embedded else None,
            # With a name of its own the bot has one address, so that nobody goes round what guards it.
            disable_execute_api_endpoint=bool(spec.aws.domain),
            deploy_options=apigateway.StageOptions(
                stage_name=names.STAGE,
                throttling_rate_limit=spec.aws.requests_per_second,
                throttling_burst_limit=spec.aws.request_burst,
                access_log_destination=apigateway.LogGroupLogDestination(access_log),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(ACCESS_LOG)),
                tracing_enabled=self._production,
            ),
            # The account's right to write logs is in the account's stack.
            cloud_watch_role=False,
        )
        resource = cast(apigateway.CfnRestApi, api.node.default_child)
        resource.security_policy, resource.endpoint_access_mode = TLS, ENDPOINT_ACCESS
        integration = apigateway.LambdaIntegration(
            cast(lambda_.IFunction, self._alias),
            timeout=Duration.seconds(limits.BUFFERED_SECONDS if self._embedded else limits.function_seconds(spec)),
            response_transfer_mode=apigateway.ResponseTransferMode.BUFFERED
            if self._embedded
            else apigateway.ResponseTransferMode.STREAM,
            allow_test_invoke=False,
        )
        api.root.add_method("ANY", integration)
        api.root.add_resource("{proxy+}").add_method("ANY", integration)
        # What is no JSON object costs no call of the function; the rest is the bot's to judge, which names the field.
        chat = api.root.add_resource("chat")
        # A path of its own hides `{proxy+}`, and a browser's OPTIONS is the bot's to answer.
        chat.add_method("ANY", integration)
        chat.add_method(
            "POST",
            integration,
            request_models={"application/json": cast(apigateway.IModel, _json_object(api))},
            request_validator=cast(
                apigateway.IRequestValidator,
                api.add_request_validator("Body", request_validator_name="body", validate_request_body=True),
            ),
        )
        _answer_problems(api, [part.strip() for part in spec.bot.allowed_origins.split(",") if part.strip()])
        return api


def _json_object(api: apigateway.RestApi) -> apigateway.Model:
    return api.add_model(
        "Object",
        model_name="Object",
        content_type="application/json",
        schema=apigateway.JsonSchema(schema=apigateway.JsonSchemaVersion.DRAFT4, type=apigateway.JsonSchemaType.OBJECT),
    )


def _answer_problems(api: apigateway.RestApi, origins: list[str]) -> None:
    # A gateway response cannot choose among origins; where there is one, its pages may read what went wrong.
    cross_origin = {"Access-Control-Allow-Origin": origins[0]} if len(origins) == 1 else {}
    for kind, (status, code, sentence) in PROBLEMS.items():
        problem: dict[str, str | int] = {
            "type": f"urn:wordup:error:{code}",
            "title": sentence,
            "code": code,
            "detail": sentence,
            "request_id": "$context.requestId",
        }
        if status:
            problem["status"] = status
        headers = PROBLEM_HEADERS | cross_origin | ({"Retry-After": "1"} if status == 429 else {})
        api.add_gateway_response(
            kind.title().replace("_", ""),
            type=apigateway.ResponseType.of(kind),
            status_code=str(status) if status else None,
            response_headers={name: f"'{value}'" for name, value in headers.items()},
            templates={"application/json": json.dumps(problem)},
        )
