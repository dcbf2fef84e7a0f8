"""Writes a model with fewer bits for its weights: quantize.py SOURCE TARGET fp16|int8|int4.

Every file that is no safetensors file is copied. Matrices of 8 and 4 bits have one scale each, so that the largest value is the
largest that fits; vectors (biases, norms) are few and matter much: they stay as they are.
"""

import json
import pathlib
import shutil
import sys

import numpy

import wharf_weights


def quantized(tensor, bits):
    """Whole numbers of so many bits, and what they are multiplied by."""
    largest = 2 ** (bits - 1) - 1
    peak = float(numpy.abs(tensor).max(initial=0.0))
    scale = numpy.float32(peak / largest if peak else 1.0)
    values = numpy.clip(numpy.rint(tensor / scale), -largest, largest).astype(numpy.int8)
    return values, numpy.array([scale], numpy.float32)


def changed(metadata, tensors, level):
    """The tensors of one file at this level, and what its metadata says of them."""
    made, about = {}, {}
    for name, tensor in wharf_weights.restored(metadata, tensors):
        if tensor.dtype.kind != "f":
            made[name] = tensor
        elif level == "fp16":
            made[name] = tensor.astype(numpy.float16)
            if numpy.isinf(made[name]).any():
                sys.exit(f"{name} has values that float16 cannot hold")
        elif tensor.ndim < 2:
            made[name] = tensor
        else:
            bits = {"int8": 8, "int4": 4}[level]
            values, made[f"{name}.scale"] = quantized(tensor, bits)
            made[name] = wharf_weights.packed(values) if bits == 4 else values
            about[name] = {"bits": bits, "shape": list(tensor.shape)}
    said = {"format": metadata.get("format", "pt"), "quantization": level}
    if about:
        said["quantized"] = json.dumps(about, sort_keys=True)
    return made, said


def main():
    source, target, level = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    weights = wharf_weights.files(source)
    if not weights:
        sys.exit("the model has no safetensors file")
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir(parents=True, exist_ok=True)
        elif path in weights:
            to.parent.mkdir(parents=True, exist_ok=True)
            wharf_weights.write(to, *changed(*wharf_weights.read(path), level))
        elif path.name.endswith(".safetensors.index.json"):
            # It names tensors and sizes that are others now.
            continue
        else:
            shutil.copy(path, to)


main()
