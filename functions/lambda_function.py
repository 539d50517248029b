"""AWS Lambda behind API Gateway's REST API: Mangum hands each event to the application."""

import gc

from mangum import Mangum

from wordup.app import create_app
from wordup.bootstrap import build
from wordup.config import Settings

# Everything served is text; Mangum would give what it does not know, problem documents among it, as base64.
TEXT = ["text/", "application/", "image/svg+xml"]

# What starting makes stays. Looking through it for garbage again and again is a tenth of a cold start's processor time.
gc.set_threshold(50_000)

handler = Mangum(create_app(build(Settings.from_env())), lifespan="off", text_mime_types=TEXT)
