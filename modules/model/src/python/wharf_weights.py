"""Weights in safetensors files, with as many bits as they were stored with. Needs numpy and nothing else.

    import wharf_weights
    weights = wharf_weights.load("/model")   # {name: array of float32}

A tensor that was stored with 8 or 4 bits has a scale beside it, `NAME.scale`, and stands under "quantized" in the file's
metadata with its bits and its shape. Two values of 4 bits are in one byte, the first in the lower half.
"""

import json
import pathlib
import struct

import numpy

TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1",
}
NAMES = {numpy.dtype(code): name for name, code in TYPES.items()}


def read(path):
    """The metadata of a file, and its tensors as they are stored. BF16 is read as float32."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__", {})
    content = numpy.memmap(path, mode="r", offset=8 + length) if header else b""
    tensors = {}
    for name, about in header.items():
        begin, end = about["data_offsets"]
        part = content[begin:end]
        if about["dtype"] == "BF16":
            values = (part.view("<u2").astype("<u4") << 16).view("<f4")
        else:
            values = part.view(TYPES[about["dtype"]])
        tensors[name] = values.reshape(about["shape"])
    return metadata, tensors


def write(path, tensors, metadata):
    """Writes tensors, the same bytes whenever they are the same."""
    header, at = {"__metadata__": metadata}, 0
    for name in sorted(tensors):
        tensor = tensors[name]
        header[name] = {
            "dtype": NAMES[tensor.dtype.newbyteorder("<")],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in sorted(tensors):
            file.write(numpy.ascontiguousarray(tensors[name]).tobytes())


def restored(metadata, tensors):
    """The tensors of a file as float32, whatever they were stored with. Integers that are no weights stay what they are."""
    quantized = json.loads(metadata.get("quantized", "{}"))
    scales = {f"{name}.scale" for name in quantized}
    for name, tensor in tensors.items():
        if name in scales:
            continue
        about = quantized.get(name)
        if about is None:
            yield name, tensor.astype(numpy.float32) if tensor.dtype.kind == "f" else tensor
            continue
        values = unpacked(tensor, about["shape"]) if about["bits"] == 4 else tensor
        yield name, values.astype(numpy.float32) * tensors[f"{name}.scale"]


def packed(values):
    """Pairs of values from -8 to 7 in one byte each."""
    flat = values.reshape(-1).astype(numpy.uint8) & 15
    if len(flat) % 2:
        flat = numpy.append(flat, numpy.uint8(0))
    return flat[0::2] | flat[1::2] << 4


def unpacked(tensor, shape):
    """The values again."""
    both = numpy.empty(2 * len(tensor), numpy.int8)
    both[0::2], both[1::2] = tensor & 15, tensor >> 4
    both[both > 7] -= 16
    return both[: int(numpy.prod(shape))].reshape(shape)


def files(directory):
    """The safetensors files of a model."""
    return sorted(pathlib.Path(directory).rglob("*.safetensors"))


def load(directory):
    """All weights of a model."""
    weights = {}
    for path in files(directory):
        weights.update(restored(*read(path)))
    return weights
