"""A question's vector: asked of the provider once a turn, within a short time, for a price that is known before.

Where it does not come, the turn goes on with the words alone.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from wordup import logs
from wordup.config import MicroUSD, Settings
from wordup.errors import ConfigurationError, ProviderError, ProviderTimeout, SecretUnavailable, UnknownModel
from wordup.models import Catalogue, Model
from wordup.providers.base import Embedder
from wordup.questions import brings_its_text
from wordup.retrieval import Knowledge
from wordup.vectors import FILE, Meaning, Vectors, missing

# What a longer question says after this is not looked up by its meaning. No token is shorter than a byte.
QUESTION_BYTES = 2_000
# After a failure nothing is asked for so long, so that a provider that hangs does not delay every turn.
REST_SECONDS = 30.0


class Embeddings:
    """Of the model that the settings name. Raises ConfigurationError for one without a price."""

    def __init__(
        self,
        embedder: Embedder,
        knowledge: Knowledge,
        catalogue: Catalogue,
        settings: Settings,
        failed: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`failed` is told the code of every failure of a turn's."""
        self.model = embedding_model(catalogue, settings)
        self._embedder = embedder
        self._knowledge = knowledge
        self._catalogue = catalogue
        self._timeout = settings.embedding_timeout_seconds
        self._data_dir = Path(settings.data_dir)
        self._failed = failed
        self._clock = clock
        self._rests_until = -math.inf
        self._vectors: Vectors | None = None

    @property
    def worst(self) -> MicroUSD:
        """The most that a turn's question can cost."""
        return self._catalogue.worst_case(self.model, QUESTION_BYTES, 0)

    def open(self) -> Vectors:
        """The passages' vectors, beside the index or in the data folder. Raises ConfigurationError where there are none
        of the model."""
        if self._vectors is None:
            beside = self._knowledge.locate().with_name(FILE)
            self._vectors = Vectors.open(beside if beside.exists() else self._data_dir / FILE, self.model.id)
        return self._vectors

    async def of(self, question: str) -> tuple[Meaning | None, MicroUSD]:
        """What the question means, and what it cost to learn in micro-dollars. None where that cannot be told: the
        passages have no vectors of the model, or the provider does not answer in time."""
        if self._clock() < self._rests_until:
            return None, 0
        try:
            async with asyncio.timeout(self._timeout):
                return await self.ask(question, self._timeout)
        except ConfigurationError as error:
            self._rests_until = math.inf
            logs.write(logging.WARNING, "embeddings_unused", reason=error.sentence, mend=error.mend)
            return None, 0
        except (ProviderError, SecretUnavailable, TimeoutError) as error:
            late = isinstance(error, TimeoutError | ProviderTimeout)
            self._rests_until = self._clock() + REST_SECONDS
            self._failed(ProviderTimeout.code if late else error.code)
            return None, self.worst if late else 0  # what comes too late may be billed all the same

    async def ask(self, question: str, seconds: float) -> tuple[Meaning | None, MicroUSD]:
        """The same in so many seconds, but None only for a message without a question: an empty one, or one that brings
        the text that it asks about. Raises ConfigurationError, ProviderError, SecretUnavailable."""
        text = question.encode()[:QUESTION_BYTES].decode(errors="ignore")
        if not text.strip() or brings_its_text(question):
            return None, 0
        vectors = self.open()
        found = await self._embedder.embed(self.model.name, [text], seconds=seconds)
        (vector,) = found.vectors
        if len(vector) != vectors.dimension:
            raise missing(self.model.id)
        return Meaning(vectors, vector), self._catalogue.cost(self.model, min(found.input_tokens, QUESTION_BYTES), 0)

    def close(self) -> None:
        if self._vectors is not None:
            self._vectors.close()


def embedding_model(catalogue: Catalogue, settings: Settings) -> Model:
    """Raises ConfigurationError."""
    try:
        return catalogue.embedding(settings.embeddings)
    except UnknownModel as error:
        raise ConfigurationError("WORDUP_EMBEDDINGS", error.sentence, mend=error.mend) from None
