"""Writes testdata/sample.json.xz: what llama.cpp's own samplers keep, and with which probabilities.

Run from the repository root, with the folder of llama.cpp's built libraries:

    python xtask/oracle/sample_vectors.py /path/to/llama.cpp/build/bin

Each case has settings (the fields of `protocol::Sampling`) and steps; a step has the token accepted
before it and the candidates left, as [id, probability]. The logits are a formula that the test
repeats. Read by crates/engine/src/sample/vectors.rs.
"""

import ctypes
import json
import lzma
import sys

VOCAB, CTX, STEPS = 200, 48, 20
# Repeats of several lengths, so that DRY and the penalties have something to find.
HISTORY = [3, 5, 7, 9, 3, 5, 7, 9, 3, 5, 11, 3, 5, 7, 9, 3, 5, 11, 3, 5, 7, 9, 3, 5]

NEUTRAL = {
    "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0,
    "repeat_penalty": 1.0, "repeat_last_n": 64, "frequency_penalty": 0.0, "presence_penalty": 0.0,
    "dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2, "dry_penalty_last_n": -1,
    "dry_sequence_breakers": [], "xtc_probability": 0.0, "xtc_threshold": 0.1, "mirostat": None,
    "logit_bias": [], "seed": 1,
}

CASES = [
    {},
    {"temperature": 0.7},
    {"top_k": 40},
    {"top_p": 0.9},
    {"min_p": 0.05},
    {"typical_p": 0.6},
    {"top_k": 40, "top_p": 0.95, "min_p": 0.05, "temperature": 0.8},
    {"top_k": 100, "typical_p": 0.8, "top_p": 0.9, "temperature": 1.7},
    {"repeat_penalty": 1.3, "repeat_last_n": 6, "top_k": 30},
    {"frequency_penalty": 0.7, "presence_penalty": 0.4, "repeat_last_n": -1, "top_k": 30},
    {"dry_multiplier": 0.8, "top_k": 60},
    {"dry_multiplier": 1.5, "dry_base": 1.2, "dry_allowed_length": 1, "dry_penalty_last_n": 9},
    {"xtc_probability": 1.0, "xtc_threshold": 0.03, "top_k": 50, "temperature": 1.2},
    {"xtc_probability": 1.0, "xtc_threshold": 0.02, "min_p": 0.2, "top_p": 0.8},
    {"logit_bias": [[3, 9.5], [5, -4.0], [7, 2.25], [199, 11.0]], "top_k": 20},
    {"logit_bias": [[9, 12.0]], "repeat_penalty": 1.1, "frequency_penalty": 0.1,
     "dry_multiplier": 0.8, "top_k": 64, "typical_p": 0.95, "top_p": 0.97, "min_p": 0.02,
     "xtc_probability": 1.0, "xtc_threshold": 0.2, "temperature": 0.9},
    {"mirostat": [1.5, 0.1], "temperature": 0.8},
    {"mirostat": [2.5, 0.1]},
]


class Token(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int32), ("logit", ctypes.c_float), ("p", ctypes.c_float)]


class Tokens(ctypes.Structure):
    _fields_ = [("data", ctypes.POINTER(Token)), ("size", ctypes.c_size_t),
                ("selected", ctypes.c_int64), ("sorted", ctypes.c_bool)]


class Bias(ctypes.Structure):
    _fields_ = [("token", ctypes.c_int32), ("bias", ctypes.c_float)]


def logit(token, step):
    """A multiple of 2^-20 between -8 and 8: exact in f32, and rarely equal to another."""
    x = (token * 2654435761 + step * 40503 + 12345) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 2246822519) & 0xFFFFFFFF
    x ^= x >> 13
    return (x >> 8) / 2**20 - 8.0


def chain(llama, s):
    """The samplers in the order of llama.cpp's common_sampler_init."""
    def make(name, *arguments):
        function = getattr(llama, "llama_sampler_init_" + name)
        function.restype = ctypes.c_void_p
        return ctypes.c_void_p(function(*arguments))

    f, i, size = ctypes.c_float, ctypes.c_int32, ctypes.c_size_t
    window = lambda n: i(CTX if n == -1 else n)
    biases = (Bias * len(s["logit_bias"]))(*[Bias(*bias) for bias in s["logit_bias"]])
    stages = [make("logit_bias", i(VOCAB), i(len(biases)), biases)]
    if s["mirostat"]:
        tau, eta = s["mirostat"]
        return stages + [make("temp", f(s["temperature"])),
                         make("mirostat_v2", ctypes.c_uint32(1), f(tau), f(eta))]
    return stages + [
        make("penalties", i(VOCAB), window(s["repeat_last_n"]), f(s["repeat_penalty"]),
             f(s["frequency_penalty"]), f(s["presence_penalty"])),
        make("dry", None, f(s["dry_multiplier"]), f(s["dry_base"]), i(s["dry_allowed_length"]),
             window(s["dry_penalty_last_n"]), None, size(0)),
        make("top_k", i(s["top_k"])),
        make("typical", f(s["typical_p"]), size(0)),
        make("top_p", f(s["top_p"]), size(0)),
        make("min_p", f(s["min_p"]), size(0)),
        make("xtc", f(s["xtc_probability"]), f(s["xtc_threshold"]), size(0), ctypes.c_uint32(1)),
        make("temp", f(s["temperature"])),
        make("dist", ctypes.c_uint32(1)),
    ]


def steps(llama, s):
    stages = chain(llama, s)
    # Mirostat's bound follows its own random choice after the first step.
    for step in range(1 if s["mirostat"] else STEPS):
        accepted = HISTORY[step]
        for stage in stages:
            llama.llama_sampler_accept(stage, ctypes.c_int32(accepted))
        data = (Token * VOCAB)(*[Token(token, logit(token, step), 0.0) for token in range(VOCAB)])
        tokens = Tokens(data, VOCAB, -1, False)
        for stage in stages:
            llama.llama_sampler_apply(stage, ctypes.byref(tokens))
        kept = sorted((tokens.data[n].id, tokens.data[n].p) for n in range(tokens.size))
        yield {"accepted": accepted, "kept": [[token, float(f"{p:.8g}")] for token, p in kept]}


def main():
    llama = ctypes.CDLL(sys.argv[1] + "/libllama.so")
    cases = []
    for case in CASES:
        settings = NEUTRAL | case
        cases.append({"settings": settings, "steps": list(steps(llama, settings))})
    document = {"vocab": VOCAB, "ctx": CTX, "cases": cases}
    data = json.dumps(document, separators=(",", ":")).encode()
    with open("testdata/sample.json.xz", "wb") as file:
        file.write(lzma.compress(data, check=lzma.CHECK_CRC32, preset=9 | lzma.PRESET_EXTREME))


main()
