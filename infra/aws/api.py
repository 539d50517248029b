"""What serves: the function and the API in front of it. Holds nothing, so it can be removed and made again."""

import json
from typing import cast

from aws_cdk import ArnFormat, CfnOutput, Duration, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.aws import limits, names
from infra.package import Architecture
from infra.spec import DeploymentSpec, environment

# What the DynamoDB adapter calls in a turn. A transaction needs the actions of its items. Scan is the operator's.
TABLE_ACTIONS = ("DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")
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
}
# What API Gateway answers by itself, in the words of the bot's own problems: status, code, sentence.
PROBLEMS = {
    "THROTTLED": (429, "rate_limited", "Too many requests."),
    "REQUEST_TOO_LARGE": (413, "too_large", "The request body is too large."),
    "INTEGRATION_TIMEOUT": (504, "provider_timeout", "The answer took too long; nothing was recorded."),
    "INTEGRATION_FAILURE": (503, "unavailable", "The bot cannot be reached."),
    "DEFAULT_4XX": (None, "bad_request", "The request cannot be understood."),
    "DEFAULT_5XX": (None, "internal_error", "Something went wrong on our side."),
}


class ApiStack(Stack):
    """Raises ConfigurationError where a buffered answer may take longer than API Gateway waits.

    Casts where the CDK's classes name a parameter otherwise than the protocol that they implement.
    """

    def __init__(
        self, scope: Construct, spec: DeploymentSpec, *, region: str, code: lambda_.Code, architecture: Architecture
    ) -> None:
        limits.check(spec)
        super().__init__(
            scope,
            names.api_stack(spec),
            description=f"Word Up! Bot {spec.name}: function and API",
            env={"region": region},
        )
        function = lambda_.Function(
            self,
            "Function",
            function_name=names.function(spec),
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64 if architecture == "arm64" else lambda_.Architecture.X86_64,
            handler="lambda_function.handler",
            code=code,
            memory_size=spec.aws.memory_mb,
            timeout=Duration.seconds(limits.function_seconds(spec)),
            environment=environment(spec, "aws"),
            role=cast(iam.IRole, self._role(spec)),
            log_group=logs.LogGroup.from_log_group_name(self, "FunctionLog", names.function_log(spec)),
        )
        api = apigateway.LambdaRestApi(
            self,
            "Api",
            handler=cast(lambda_.IFunction, function),
            rest_api_name=spec.name,
            # A regional endpoint may idle for five minutes, an edge one for 30 seconds.
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            integration_options=apigateway.LambdaIntegrationOptions(
                timeout=Duration.seconds(limits.INTEGRATION_SECONDS), allow_test_invoke=False
            ),
            deploy_options=apigateway.StageOptions(
                stage_name=names.STAGE,
                throttling_rate_limit=spec.aws.requests_per_second,
                throttling_burst_limit=spec.aws.request_burst,
                access_log_destination=apigateway.LogGroupLogDestination(
                    logs.LogGroup.from_log_group_name(self, "AccessLog", names.access_log(spec))
                ),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(ACCESS_LOG)),
            ),
            # The account's right to write logs is in the account's stack.
            cloud_watch_role=False,
        )
        _answer_problems(api)
        CfnOutput(self, "ApiId", value=api.rest_api_id)

    def _role(self, spec: DeploymentSpec) -> iam.Role:
        def statement(resource: str, *actions: str) -> iam.PolicyStatement:
            return iam.PolicyStatement(actions=list(actions), resources=[resource])

        log_group = self.format_arn(
            service="logs",
            resource="log-group",
            resource_name=f"{names.function_log(spec)}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        table = self.format_arn(service="dynamodb", resource="table", resource_name=names.table(spec))
        # Secrets Manager adds a hyphen and six characters to the name.
        secret = self.format_arn(
            service="secretsmanager",
            resource="secret",
            resource_name=f"{names.secret(spec)}-??????",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        return iam.Role(
            self,
            "Role",
            assumed_by=cast(iam.IPrincipal, iam.ServicePrincipal("lambda.amazonaws.com")),
            inline_policies={
                "Function": iam.PolicyDocument(
                    statements=[
                        statement(table, *(f"dynamodb:{action}" for action in TABLE_ACTIONS)),
                        statement(secret, "secretsmanager:GetSecretValue"),
                        statement(log_group, "logs:CreateLogStream", "logs:PutLogEvents"),
                    ]
                )
            },
        )


def _answer_problems(api: apigateway.RestApi) -> None:
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
        headers = {"Retry-After": "'1'"} if status == 429 else {}
        api.add_gateway_response(
            kind.title().replace("_", ""),
            type=apigateway.ResponseType.of(kind),
            status_code=str(status) if status else None,
            response_headers={"Content-Type": "'application/problem+json'", **headers},
            templates={"application/json": json.dumps(problem)},
        )
