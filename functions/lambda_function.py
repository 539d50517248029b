"""AWS Lambda behind API Gateway's REST API: `bootstrap` runs this file in the place of Lambda's own runtime."""

import gc

from wordup.config import LambdaEnvironment, Settings
from wordup.lambda_runtime import Handler, run

# What starting makes stays. Looking through it for garbage again and again is a tenth of a cold start's processor time.
gc.set_threshold(50_000)


def handler() -> Handler:
    from wordup.api_gateway import Bridge
    from wordup.app import create_app
    from wordup.bootstrap import build

    settings = Settings.from_env()
    return Bridge(create_app(build(settings)), streams=settings.response_mode == "stream")


if __name__ == "__main__":
    run(handler, LambdaEnvironment.from_env())
