"""`python -m serving`: reads the environment and serves until SIGTERM. SageMaker adds the word `serve`."""

import argparse
import logging
import signal
import sys

from serving.config import Settings
from serving.errors import ConfigurationError

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 after a drained stop, 1 when the models were refused, 2 for a wrong setting."""
    parser = argparse.ArgumentParser(prog="serving", description=__doc__)
    parser.add_argument("verb", nargs="?", choices=["serve"], default="serve", help="the only verb")
    parser.parse_args(arguments)
    try:
        settings = Settings.from_env()
    except ConfigurationError as error:
        print(f"{error.code}: {error.sentence} {error.mend}", file=sys.stderr)
        return 2
    # Imported here so that a wrong setting is told at once, not after the seconds that torch takes to load.
    import uvicorn

    from serving.app import create_app

    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")

    failures: list[BaseException] = []

    def stop(failure: BaseException) -> None:
        log.critical("the models cannot be served", exc_info=failure)
        failures.append(failure)
        server.should_exit = True

    app = create_app(settings, on_failure=stop)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            timeout_graceful_shutdown=settings.drain_seconds,
            access_log=False,
            server_header=False,
            log_config=None,
        )
    )
    # uvicorn drains on SIGTERM and then sends itself the signal again; a drained process exits with 0 all the same.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    server.run()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
