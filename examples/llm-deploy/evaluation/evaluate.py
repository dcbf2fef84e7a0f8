"""How well a model's idea of similar sentences agrees with people's: evaluate.py MODEL PAIRS.

Each line of PAIRS has what people say, from 0 (nothing in common) to 5 (the same), and two sentences. The score is Spearman's
correlation between that and the cosine of the sentences' vectors.
"""

import json
import sys

import minilm
import numpy


def ranks(values):
    """The place of each in the order of all; those that are equal share theirs."""
    values = numpy.asarray(values)
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return below + (equal - 1) / 2


def main():
    encoder = minilm.Encoder(sys.argv[1])
    lines = [line.rstrip("\n").split("\t") for line in open(sys.argv[2], encoding="utf-8") if line.strip()]
    said = [float(score) for score, _, _ in lines]
    first, second = (encoder([line[column] for line in lines]) for column in (1, 2))
    cosines = (first * second).sum(axis=1)
    spearman = numpy.corrcoef(ranks(said), ranks(cosines))[0, 1]
    pearson = numpy.corrcoef(said, cosines)[0, 1]
    print(json.dumps({"score": float(spearman), "pearson": float(pearson), "pairs": len(lines), "device": encoder.device}))


main()
