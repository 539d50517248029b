"""Prompt embeddings, kept for prompts that come again: least recently used first out, bounded in bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from serving.metrics import Metrics

Embeddings = dict[str, torch.Tensor]


class EmbeddingCache:
    def __init__(self, max_bytes: int, metrics: Metrics) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Hashable, Embeddings] = OrderedDict()
        self._counter = metrics.embeddings

    def get(self, key: Hashable, make: Callable[[], Embeddings]) -> Embeddings:
        """The embeddings of `key`, made at most once while they are kept."""
        if key in self._kept:
            self._counter.labels("hit").inc()
            self._kept.move_to_end(key)
            return self._kept[key]
        self._counter.labels("miss").inc()
        made = make()
        self._kept[key] = made
        self._bytes += _size(made)
        while self._bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= _size(dropped)
        return made


def _size(embeddings: Embeddings) -> int:
    return sum(tensor.nbytes for tensor in embeddings.values())
