"""AWS Lambda behind API Gateway's REST API: Mangum hands each event to the application."""

from mangum import Mangum

from wordup.app import create_app
from wordup.bootstrap import build
from wordup.config import Settings

# Everything served is text; Mangum would give what it does not know, problem documents among it, as base64.
TEXT = ["text/", "application/", "image/svg+xml"]

handler = Mangum(create_app(build(Settings.from_env())), lifespan="off", text_mime_types=TEXT)
