"""The `wordup` program. Exits 0 on success, 1 on a failure that it explains, 2 on wrong usage."""

import sys

import typer

from cli import chat, console, data, deploy, doctor, feedback, generate, knowledge, models, secret, serve, user
from wordup.errors import WordUpError

app = typer.Typer(
    name="wordup",
    help="Word Up! Bot: deploy it, run it, talk to it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
deploy.register(app)
app.command()(doctor.doctor)
app.command()(serve.serve)
app.command()(chat.chat)
app.command()(models.models)
app.command()(generate.generate)
app.add_typer(knowledge.app, name="knowledge")
app.add_typer(user.app, name="user")
app.add_typer(feedback.app, name="feedback")
app.add_typer(data.app, name="data")
app.add_typer(secret.app, name="secret")


def main() -> None:
    try:
        app()
    except WordUpError as error:
        console.explain(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
