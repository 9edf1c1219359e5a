"""Writes testdata/quant.decode.xz and testdata/quant.encode.xz from the `gguf` package.

Run from the repository root with a Python that has `gguf` (0.19) and `numpy`:

    python xtask/oracle/quant_vectors.py

Each file is a sequence of records, little endian: u32 GGUF type id, u32 number of blocks, the
blocks' bytes, their values as f32. In `decode` the bytes are the input, in `encode` the values are.
Read by crates/kernels/tests/quant_vectors.rs.
"""

import lzma
import struct

import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

# Stands for the scale of IQ1_M, whose nibbles are the highest of four words.
NIBBLES = -1

# Type: where its f16 scales stand in a block.
DECODE = {
    T.F32: [], T.F16: [], T.BF16: [], T.MXFP4: [],
    T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.TQ1_0: [52], T.TQ2_0: [64],
    T.IQ1_S: [0], T.IQ1_M: [NIBBLES],
    T.IQ2_XXS: [0], T.IQ2_XS: [0], T.IQ2_S: [0], T.IQ3_XXS: [0], T.IQ3_S: [0],
}
ENCODE = [T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.TQ1_0, T.TQ2_0, T.MXFP4]

# Zeros, smallest and largest denormal, smallest normal, one, largest, infinite, not a number.
F16_EDGES = [
    0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00,
]
F32_EDGES = [
    0x00000000, 0x80000000, 0x00000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0xFF800000, 0x7FC00001,
]


def bits(at, count):
    return list(range(at, at + count))


# Types with a codebook: groups in a block, and the bits, lowest first, that hold the place of one.
PLACES = {
    T.IQ1_S: (32, lambda g: bits(16 + 8 * g, 8) + bits(272 + g // 4 * 16 + g % 4 * 3, 3)),
    T.IQ1_M: (32, lambda g: bits(8 * g, 8) + bits(256 + 4 * g, 3)),
    T.IQ2_XXS: (32, lambda g: bits(16 + g // 4 * 64 + g % 4 * 8, 8)),
    T.IQ2_XS: (32, lambda g: bits(16 + 16 * g, 9)),
    T.IQ2_S: (32, lambda g: bits(16 + 8 * g, 8) + bits(528 + 2 * g, 2)),
    T.IQ3_XXS: (64, lambda g: bits(16 + 8 * g, 8)),
    T.IQ3_S: (64, lambda g: bits(16 + 8 * g, 8) + bits(528 + g, 1)),
}

rng = np.random.default_rng(20261121)


def put_scales(blocks, at, values):
    """Writes an f16 bit pattern to each block."""
    if at == NIBBLES:
        for i in range(4):
            byte = blocks[:, 49 + 2 * i]
            byte[:] = (byte & 15) | ((values >> (4 * i) & 15) << 4).astype(np.uint8)
    else:
        blocks[:, at:at + 2] = values.astype("<u2").view(np.uint8).reshape(-1, 2)


def random_blocks(count, size, scales):
    """Random bytes, with scales of ordinary size in place of random bit patterns."""
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in scales:
        values = rng.normal(0, 0.02, count).astype(np.float16)
        put_scales(blocks, at, values.view(np.uint16))
    return blocks


def codebook_blocks(ty, size, scales):
    """Random blocks in which 2048 groups have all places of the codebook in turn."""
    groups, place_bits = PLACES[ty]
    blocks = random_blocks(2048 // groups, size, scales)
    for g in range(groups):
        places = np.arange(len(blocks)) * groups + g
        for i, bit in enumerate(place_bits(g)):
            byte, bit = blocks[:, bit // 8], bit % 8
            byte[:] = (byte & (255 ^ 1 << bit)) | (places >> i & 1) << bit
    return blocks


def decode_blocks(ty, scales):
    """Input of one type: random blocks, wild scales, every byte value in turn, edge scales."""
    length, size = GGML_QUANT_SIZES[ty]
    if ty in (T.F16, T.BF16):
        edges = np.array(F16_EDGES + [x >> 16 for x in F32_EDGES], dtype="<u2")
        values = np.concatenate([edges, rng.integers(0, 65536, 2048).astype("<u2")])
        return values.view(np.uint8).reshape(-1, 2)
    if ty == T.F32:
        edges = np.array(F32_EDGES, dtype="<u4").view(np.uint8).reshape(-1, 4)
        return np.concatenate([edges, rng.integers(0, 256, (256, 4), dtype=np.uint8)])
    parts = [random_blocks(12 if length == 256 else 64, size, scales), random_blocks(3, size, [])]
    # A ramp of all byte values with a scale of one: every nibble, bit pair and group of trits.
    ramp = (np.arange(256)[:, None] + np.arange(size)[None, :]).astype(np.uint8)
    ramp = ramp[::size] if length == 256 else ramp[::8]
    for at in scales:
        put_scales(ramp, at, np.full(len(ramp), 0x3C00))
    parts.append(ramp)
    for fill in (0x00, 0xFF):
        parts.append(np.full((1, size), fill, dtype=np.uint8))
    for edge in F16_EDGES if scales else []:
        block = random_blocks(1, size, scales)
        for at in scales:
            put_scales(block, at, np.full(1, edge))
        parts.append(block)
    if ty == T.MXFP4:
        exponents = random_blocks(8, size, [])
        exponents[:, 0] = [0, 1, 2, 3, 127, 128, 254, 255]
        parts.append(exponents)
    if ty in PLACES:
        parts.append(codebook_blocks(ty, size, scales))
    return np.concatenate(parts)


def encode_values(ty):
    """Values of one type: random at several sizes, zeros, constants, one spike, ramps and ties.

    The same for all types of a block length, so that they compress to one copy.
    """
    length = max(GGML_QUANT_SIZES[ty][0], 32)
    rng = np.random.default_rng(length)
    rows = [rng.normal(0, size, (6, length)) for size in (1e-30, 1e-9, 1e-4, 0.02, 1.0, 300.0, 1e5)]
    rows.append(rng.uniform(1.0, 1.5, (4, length)))
    spike = np.zeros((4, length))
    spike[0, 0], spike[1, -1], spike[2, 7], spike[2, 8] = 3.0, -5.0, 2.0, -2.0
    rows.append(spike)
    rows.append(np.full((2, length), [[0.75], [-0.75]]))
    rows.append([(np.arange(length) % 33 - 16) / 2.0, (np.arange(length) % 255 - 127) * 0.5])
    return np.concatenate(rows).astype(np.float32)


def record(ty, blocks, values):
    assert blocks.dtype == np.uint8 and values.dtype == np.float32
    head = struct.pack("<II", ty.value, blocks.size // GGML_QUANT_SIZES[ty][1])
    return head + blocks.tobytes() + values.tobytes()


def main():
    np.seterr(all="ignore")
    decode, encode = b"", b""
    for ty, scales in DECODE.items():
        blocks = np.ascontiguousarray(decode_blocks(ty, scales))
        decode += record(ty, blocks, np.ascontiguousarray(quants.dequantize(blocks, ty)))
    for ty in ENCODE:
        values = encode_values(ty)
        blocks = np.ascontiguousarray(quants.quantize(values, ty)).view(np.uint8)
        encode += record(ty, blocks, values)
    for name, data in (("decode", decode), ("encode", encode)):
        with open(f"testdata/quant.{name}.xz", "wb") as file:
            file.write(lzma.compress(data, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME))


main()
