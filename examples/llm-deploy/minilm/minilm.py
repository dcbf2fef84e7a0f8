"""MiniLM's forward pass with numpy, or with cupy on a GPU: from sentences to vectors of length 1."""

import json
import os
import pathlib

# Its matrices are small, and levels are tried beside each other: threads would mostly wait. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy
import tokenizers

import wharf_weights

LONGEST = 256


def arrays():
    """What computes, and its name: cupy where there is a GPU and cupy, numpy otherwise."""
    if os.environ.get("WHARF_DEVICE") == "cuda":
        try:
            import cupy

            return cupy, cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        except ImportError:
            pass
    return numpy, "cpu"


class Encoder:
    def __init__(self, directory):
        directory = pathlib.Path(directory)
        config = json.loads((directory / "config.json").read_text())
        self.xp, self.device = arrays()
        self.heads, self.layers = config["num_attention_heads"], config["num_hidden_layers"]
        self.epsilon = config["layer_norm_eps"]
        weights = wharf_weights.load(directory)
        self.weights = {name.removeprefix("bert."): self.xp.asarray(values) for name, values in weights.items()}
        self.tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()

    def __call__(self, sentences):
        """An array with a row for each sentence."""
        tokens = self.tokenizer.encode_batch(list(sentences))
        ids = self.xp.asarray([token.ids for token in tokens])
        mask = self.xp.asarray([token.attention_mask for token in tokens], dtype=self.xp.float32)
        hidden = self.embedded(ids)
        for layer in range(self.layers):
            hidden = self.layer(f"encoder.layer.{layer}", hidden, mask)
        pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
        vectors = pooled / self.xp.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors if self.xp is numpy else self.xp.asnumpy(vectors)

    def embedded(self, ids):
        word = self.weights["embeddings.word_embeddings.weight"][ids]
        position = self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        kind = self.weights["embeddings.token_type_embeddings.weight"][0]
        return self.norm("embeddings.LayerNorm", word + position + kind)

    def layer(self, name, hidden, mask):
        attended = self.linear(f"{name}.attention.output.dense", self.attention(f"{name}.attention.self", hidden, mask))
        hidden = self.norm(f"{name}.attention.output.LayerNorm", hidden + attended)
        wide = gelu(self.xp, self.linear(f"{name}.intermediate.dense", hidden))
        return self.norm(f"{name}.output.LayerNorm", hidden + self.linear(f"{name}.output.dense", wide))

    def attention(self, name, hidden, mask):
        count, length, width = hidden.shape
        shape = (count, length, self.heads, width // self.heads)
        query, key, value = (
            self.linear(f"{name}.{part}", hidden).reshape(shape).transpose(0, 2, 1, 3) for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / self.xp.float32(shape[3] ** 0.5)
        scores = scores + (1 - mask)[:, None, None, :] * self.xp.float32(-1e9)
        scores = self.xp.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = scores / scores.sum(axis=-1, keepdims=True)
        return (weights @ value).transpose(0, 2, 1, 3).reshape(count, length, width)

    def linear(self, name, values):
        rows = values.reshape(-1, values.shape[-1]) @ self.weights[f"{name}.weight"].T
        return rows.reshape(*values.shape[:-1], -1) + self.weights[f"{name}.bias"]

    def norm(self, name, values):
        centred = values - values.mean(axis=-1, keepdims=True)
        spread = self.xp.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.xp.float32(self.epsilon))
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(xp, values):
    return values * (1 + erf(xp, values / xp.float32(2**0.5))) / 2


def erf(xp, values):
    """The error function to seven digits, by a rational approximation."""
    size = xp.abs(values)
    part = 1 / (1 + xp.float32(0.3275911) * size)
    series = xp.zeros_like(values)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + xp.float32(factor)) * part
    return xp.sign(values) * (1 - series * xp.exp(-size * size))
