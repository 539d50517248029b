"""What follows a deployment: the secret's first value, and the first question, asked and answered over HTTP."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from http import HTTPStatus

import httpx2
import msgspec

from cli.client import Client, Refused
from cli.places import on_target
from infra.errors import DeploymentError
from infra.targets import Report, Target
from wordup.auth import OWNER, issue_key, named
from wordup.erasure import Erasure
from wordup.errors import WrongAccessKey
from wordup.keyring import new_ring

QUESTION = "How long may a Lambda function run?"
# Who asks it where sign-in is an issuer's, and is erased after it.
VISITOR = "deploy"
# A new role and a new address are known everywhere in a cloud only after a while.
READY_SECONDS = 120.0
WAIT_SECONDS = 1.0


def ask(target: Target, url: str, auth: str, report: Report) -> tuple[str | None, str]:
    """The owner's access key, made with the first deployment, and the answer. In `oidc` mode nobody gets a key: the
    question's own is erased after it, with what was said. Raises DeploymentError, Refused, Unreachable."""
    report.step("Reading the keys")
    secret = target.read_secret()
    if "signing" not in secret:  # a later deployment leaves it as it is
        target.write_secret({"signing": msgspec.json.decode(new_ring()), "provider_key": "", **secret})
    admission = target.admission()
    _wait_until_ready(target, url, admission, report)
    report.step("Asking the first question")
    return (None, _ask_as_visitor(target, url, admission)) if auth == "oidc" else _ask_as_owner(target, url, admission)


def _wait_until_ready(target: Target, url: str, admission: Mapping[str, str], report: Report) -> None:
    report.step("Waiting until it is ready")
    deadline = time.monotonic() + READY_SECONDS
    # A proxy for the internet is not asked for what runs on this machine.
    with httpx2.Client(timeout=READY_SECONDS, trust_env=target.is_billed, headers=admission) as http:
        while True:
            mend = "Look in its log."
            try:
                response = http.get(f"{url}readyz")
                if response.is_success:
                    return
                why = response.text
                if response.status_code == HTTPStatus.FORBIDDEN:  # the bot has no such answer here
                    mend = "It is not public: give yourself the right to call it, or a way into its network."
            except httpx2.TransportError as error:
                why = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise DeploymentError(f"{url} is not ready after {READY_SECONDS:g} s: {why}", mend=mend)
            time.sleep(WAIT_SECONDS)


def _ask_as_owner(target: Target, url: str, admission: Mapping[str, str]) -> tuple[str, str]:
    key = target.read_secret().get("access_key") or _make_access_key(target)
    try:
        return key, _ask(url, key, admission)
    except Refused as error:
        if error.code != WrongAccessKey.code:
            raise
        # The table is a new one, or somebody revoked the owner's key: this deployment needs one that opens.
        key = _make_access_key(target)
        return key, _ask(url, key, admission)


def _ask_as_visitor(target: Target, url: str, admission: Mapping[str, str]) -> str:
    key = on_target(target, lambda store, _: issue_key(store, VISITOR, "deploy"))
    try:
        return _ask(url, key, admission)
    finally:
        on_target(target, lambda store, settings: Erasure(store, settings).erase(named(VISITOR)))


def _make_access_key(target: Target) -> str:
    key = on_target(target, lambda store, _: issue_key(store, OWNER, "deploy"))
    target.write_secret({**target.read_secret(), "access_key": key})
    return key


def _ask(url: str, key: str, admission: Mapping[str, str]) -> str:
    async def run() -> str:
        client = Client(url, key, admission)
        try:
            return await _answer(client)
        finally:
            await client.close()

    return asyncio.run(run())


async def _answer(client: Client) -> str:
    async with contextlib.aclosing(client.ask(QUESTION)) as events:
        async for name, data in events:
            if name == "done":
                return data["message"]
    raise DeploymentError("The bot's answer has no end.", mend="Look in its log.")
