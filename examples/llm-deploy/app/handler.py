"""Answers {"sentences": […]} with a vector for each."""

import minilm

MOST = 64


def load(directory):
    return minilm.Encoder(directory)


def predict(model, request):
    sentences = request.get("sentences")
    if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
        raise ValueError('"sentences" has to be a list of texts')
    if not 0 < len(sentences) <= MOST:
        raise ValueError(f"between 1 and {MOST} sentences are answered at once")
    return {"vectors": model(sentences).tolist()}
