"""The GPU endpoints of `[inference.NAME]` on SageMaker, real-time and asynchronous, and the images' registry."""

from collections.abc import Mapping
from typing import cast

from aws_cdk import ArnFormat, CfnOutput, CfnTag, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra import inference
from infra.aws import names
from infra.inference import Inference
from infra.spec import DeploymentSpec

VARIANT = "live"
ANSWERS_KEPT_DAYS = 7
# Requests that wait for each instance before another one starts.
BACKLOG = 2
# Requests in the five minutes of an alarm's period that may fail before somebody is called.
ERRORS = 5
LATENCY_SHARE = 0.9
IMAGE_ACTIONS = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


class InferenceStack(Stack):
    """The embedded cloud knows nothing of SageMaker, so the local stage leaves this stack out.

    Casts where the CDK's classes name a parameter otherwise than the protocol that they implement.
    """

    def __init__(
        self, scope: Construct, spec: DeploymentSpec, endpoints: Mapping[str, Inference], *, region: str
    ) -> None:
        super().__init__(
            scope,
            names.inference_stack(spec),
            description=f"Word Up! Bot {spec.name}: GPU endpoints",
            env={"region": region},
        )
        self._spec = spec
        self._registry = ecr.Repository(
            self,
            "Images",
            repository_name=names.endpoint(spec, "images"),
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            removal_policy=RemovalPolicy.DESTROY,
            empty_on_delete=True,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=5)],
        )
        CfnOutput(self, "InferenceImage", value=self._registry.repository_uri)
        for name, endpoint in endpoints.items():
            if endpoint.image:
                self._endpoint(name, endpoint)

    def _endpoint(self, name: str, endpoint: Inference) -> None:
        named = names.endpoint(self._spec, name)
        log = logs.CfnLogGroup(
            self,
            f"{name}Log",
            log_group_name=f"/aws/sagemaker/Endpoints/{named}",
            retention_in_days=self._spec.aws.log_retention_days,
        )
        log.apply_removal_policy(RemovalPolicy.DESTROY)
        asynchronous = self._answers(name) if endpoint.on == "sagemaker_async" else None
        role = self._role(name, endpoint, asynchronous)
        model = sagemaker.CfnModel(
            self,
            f"{name}Model",
            execution_role_arn=role.role_arn,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=self._registry.repository_uri_for_digest(endpoint.image),
                environment=inference.variables(endpoint),
                model_data_source=_mounted(endpoint),
            ),
            # With the model mounted and no buckets of the caller's there is nothing to reach.
            enable_network_isolation=not (
                endpoint.hub_model or endpoint.inputs or endpoint.outputs or "INFERENCE_C2PA" in str(endpoint.variables)
            ),
            tags=[CfnTag(key=names.DEPLOYMENT_TAG, value=self._spec.name)],
        )
        model.node.add_dependency(role)
        configuration = sagemaker.CfnEndpointConfig(
            self,
            f"{name}Configuration",
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name=VARIANT,
                    model_name=model.attr_model_name,
                    instance_type=endpoint.machine_type,
                    # An endpoint begins with one at least; its scaling takes it to nothing.
                    initial_instance_count=max(1, endpoint.min_instances),
                    initial_variant_weight=1,
                    container_startup_health_check_timeout_in_seconds=inference.START_SECONDS,
                    model_data_download_timeout_in_seconds=inference.START_SECONDS,
                    routing_config=sagemaker.CfnEndpointConfig.RoutingConfigProperty(
                        routing_strategy="LEAST_OUTSTANDING_REQUESTS"
                    ),
                )
            ],
            async_inference_config=_asynchronous(endpoint, asynchronous) if asynchronous else None,
        )
        deployed = sagemaker.CfnEndpoint(
            self, f"{name}Endpoint", endpoint_name=named, endpoint_config_name=configuration.attr_endpoint_config_name
        )
        deployed.node.add_dependency(log)
        self._scaling(name, named, endpoint).node.add_dependency(deployed)
        self._alarms(name, named, endpoint)
        CfnOutput(self, f"Inference{name.title()}", value=named)

    def _answers(self, name: str) -> s3.Bucket:
        """Where an asynchronous endpoint reads requests and leaves answers."""
        bucket = s3.Bucket(
            self,
            f"{name}Answers",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(ANSWERS_KEPT_DAYS))],
            removal_policy=RemovalPolicy.DESTROY,
        )
        cast(s3.CfnBucket, bucket.node.default_child).override_logical_id(f"{name}Answers")
        return bucket

    def _role(self, name: str, endpoint: Inference, answers: s3.Bucket | None) -> iam.Role:
        def statement(*actions: str, on: str) -> iam.PolicyStatement:
            return iam.PolicyStatement(actions=list(actions), resources=[on])

        log = self.format_arn(
            service="logs",
            resource="log-group",
            resource_name=f"/aws/sagemaker/Endpoints/{names.endpoint(self._spec, name)}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        statements = [
            statement(*IMAGE_ACTIONS, on=self._registry.repository_arn),
            # The registry's password is the account's: this action takes no resource.
            statement("ecr:GetAuthorizationToken", on="*"),
            statement("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", on=log),
        ]
        for uri in readable(endpoint):
            bucket, prefix = inference.bucket(uri)
            statements += [
                statement("s3:GetObject", on=objects(uri)),
                iam.PolicyStatement(
                    actions=["s3:ListBucket"],
                    resources=[f"arn:aws:s3:::{bucket}"],
                    conditions={"StringLike": {"s3:prefix": f"{prefix}/*" if prefix else "*"}},
                ),
            ]
        statements += [statement("s3:PutObject", on=objects(uri)) for uri in endpoint.outputs]
        if answers:
            statements.append(statement("s3:GetObject", "s3:PutObject", on=answers.arn_for_objects("*")))
        return iam.Role(
            self,
            f"{name}Role",
            assumed_by=cast(iam.IPrincipal, iam.ServicePrincipal("sagemaker.amazonaws.com")),
            inline_policies={"Endpoint": iam.PolicyDocument(statements=statements)},
        )

    def _scaling(self, name: str, named: str, endpoint: Inference) -> autoscaling.ScalableTarget:
        target = autoscaling.ScalableTarget(
            self,
            f"{name}Scaling",
            service_namespace=autoscaling.ServiceNamespace.SAGEMAKER,
            scalable_dimension="sagemaker:variant:DesiredInstanceCount",
            resource_id=f"endpoint/{named}/variant/{VARIANT}",
            min_capacity=endpoint.min_instances,
            max_capacity=endpoint.max_instances,
        )
        if endpoint.on == "sagemaker":
            target.scale_to_track_metric(
                "Concurrency",
                predefined_metric=(
                    autoscaling.PredefinedMetric.SAGEMAKER_VARIANT_CONCURRENT_REQUESTS_PER_MODEL_HIGH_RESOLUTION
                ),
                target_value=endpoint.max_batch,
                scale_in_cooldown=Duration.minutes(5),
                scale_out_cooldown=Duration.minutes(1),
            )
            return target
        target.scale_to_track_metric(
            "Backlog",
            custom_metric=_metric("ApproximateBacklogSizePerInstance", named, statistic="Average"),
            target_value=BACKLOG,
            scale_in_cooldown=Duration.minutes(5),
            scale_out_cooldown=Duration.minutes(5),
        )
        # Per instance is of no use where there is none.
        target.scale_on_metric(
            "Wake",
            metric=_metric("HasBacklogWithoutCapacity", named, statistic="Average", period=Duration.minutes(1)),
            scaling_steps=[
                autoscaling.ScalingInterval(lower=1, change=1),
                autoscaling.ScalingInterval(upper=0, change=0),
            ],
            adjustment_type=autoscaling.AdjustmentType.CHANGE_IN_CAPACITY,
            cooldown=Duration.minutes(5),
        )
        return target

    def _alarms(self, name: str, named: str, endpoint: Inference) -> None:
        self._alarm(
            f"{name}Errors",
            f"{named} fails; its log says why.",
            _metric("Invocation5XXErrors", named, variant=True, statistic="Sum"),
            ERRORS,
        )
        if endpoint.on == "sagemaker":
            self._alarm(
                f"{name}Latency",
                f"{named} is near its time-out: raise max_instances, or lower steps and sizes.",
                _metric("ModelLatency", named, variant=True, statistic="p99"),
                round(endpoint.timeout_seconds * LATENCY_SHARE * 1e6),  # CloudWatch has microseconds
                periods=3,
            )
        else:
            self._alarm(
                f"{name}Age",
                f"Requests to {named} wait long: raise max_instances.",
                _metric("ApproximateAgeOfOldestRequest", named, statistic="Maximum"),
                2 * inference.START_SECONDS,
            )

    def _alarm(self, name: str, description: str, metric: cloudwatch.Metric, threshold: int, periods: int = 1) -> None:
        alarm = metric.create_alarm(
            self,
            name,
            alarm_description=description,
            threshold=threshold,
            evaluation_periods=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self._spec.profile == "production":
            topic = sns.Topic.from_topic_arn(
                self, f"{name}Topic", self.format_arn(service="sns", resource=names.topic(self._spec))
            )
            alarm.add_alarm_action(cast(cloudwatch.IAlarmAction, actions.SnsAction(topic)))


def _mounted(endpoint: Inference) -> sagemaker.CfnModel.ModelDataSourceProperty | None:
    if not endpoint.model.startswith("s3:"):
        return None
    return sagemaker.CfnModel.ModelDataSourceProperty(
        s3_data_source=sagemaker.CfnModel.S3DataSourceProperty(
            s3_uri=endpoint.model.rstrip("/") + "/", s3_data_type="S3Prefix", compression_type="None"
        )
    )


def _asynchronous(endpoint: Inference, answers: s3.Bucket) -> sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty:
    return sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty(
        output_config=sagemaker.CfnEndpointConfig.AsyncInferenceOutputConfigProperty(
            s3_output_path=Fn.join("", ["s3://", answers.bucket_name, "/answers"]),
            s3_failure_path=Fn.join("", ["s3://", answers.bucket_name, "/failures"]),
        ),
        client_config=sagemaker.CfnEndpointConfig.AsyncInferenceClientConfigProperty(
            max_concurrent_invocations_per_instance=endpoint.concurrency
        ),
    )


def readable(endpoint: Inference) -> list[str]:
    return [*endpoint.inputs, *([endpoint.model] if endpoint.model.startswith("s3:") else [])]


def objects(uri: str) -> str:
    """The ARN of everything below a prefix."""
    bucket, prefix = inference.bucket(uri)
    return f"arn:aws:s3:::{bucket}/{prefix}/*" if prefix else f"arn:aws:s3:::{bucket}/*"


def _metric(
    name: str, endpoint: str, *, statistic: str, variant: bool = False, period: Duration | None = None
) -> cloudwatch.Metric:
    dimensions = {"EndpointName": endpoint, **({"VariantName": VARIANT} if variant else {})}
    return cloudwatch.Metric(
        namespace="AWS/SageMaker",
        metric_name=name,
        dimensions_map=dimensions,
        statistic=statistic,
        period=period or Duration.minutes(5),
    )
