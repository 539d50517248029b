"""One process that takes turns, for tests that kill it: `python -m tests.turn_process`, settings by environment.

It reads a JSON object a line from standard input, takes the turn it describes in a child of its own, so that each
kill costs a fork and not the start of an interpreter, and writes the child's process id, then, when the child ended,
its exit status.
"""

import asyncio
import json
import os
import sys
import time

import aiohttp  # noqa: F401 - before the fork, not in every child

from wordup.admission import TurnRequest
from wordup.auth import named
from wordup.bootstrap import STORES, adapter, build
from wordup.config import Settings


async def _take(turn: dict[str, str], later: float) -> None:
    """`later`: how many seconds ahead of the machine's clock the bot's runs."""
    bot = build(Settings.from_env(), clock=lambda: time.time() + later)
    request = TurnRequest(message=turn["message"], conversation_id=turn.get("conversation_id"))
    try:
        async for _ in bot.chat.turn(named("owner"), request, key=turn["key"]):
            pass
    finally:
        await bot.close()


def _child(turn: dict[str, str], later: float) -> None:
    try:
        asyncio.run(_take(turn, later))
    except BaseException as error:  # noqa: BLE001 - the child ends here, whatever happened
        print(type(error).__name__, error, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def main() -> None:
    adapter(STORES, Settings.from_env().store, "WORDUP_STORE")  # its SDK is imported before the fork, too
    print("ready", flush=True)
    for line in sys.stdin:
        turn = json.loads(line)
        child = os.fork()
        if not child:
            _child(turn, turn.pop("later", 0.0))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
