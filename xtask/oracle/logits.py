"""Logits of llama.cpp for given token ids: the reference our engine is compared with.

Run by `cargo xtask conformance` inside its virtual environment, and by hand to make a golden:

    python logits.py --oracle target/oracle MODEL.gguf --tokens 1,2,3 --out rows.f32

Writes row-major little-endian f32 `[tokens, vocabulary]`, one row after every token, and prints the
shape as JSON. All tokens go through one batch with an f32 cache and without flash attention unless
asked for, so that nothing but the arithmetic of the graph is compared.
"""

import argparse
import ctypes
import json
import os
import pathlib
import sys


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--oracle", required=True, help="folder with build and package")
    parser.add_argument("--tokens", required=True, help="ids with commas, or @FILE")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kv", choices=["f32", "f16"], default="f32", help="cache type")
    parser.add_argument("--flash", action="store_true", help="use flash attention")
    parser.add_argument("--lora", help="a GGUF adapter beside the model")
    parser.add_argument("--strength", type=float, default=1.0, help="of the adapter")
    parser.add_argument("--step", type=int, default=0, help="tokens in a batch, 0 for all at once")
    return parser.parse_args()


def load_library(oracle):
    """Imports the low-level bindings from the unpacked source and the library from the build."""
    root = pathlib.Path(oracle).resolve()
    package = next(root.glob("llama_cpp_python-*/llama_cpp"), None)
    if package is None:
        sys.exit(f"{root} holds no unpacked llama_cpp_python-*; run `cargo xtask conformance`")
    os.environ["LLAMA_CPP_LIB_PATH"] = str(root / "build" / "bin")
    sys.path.insert(0, str(package.parent))
    import llama_cpp.llama_cpp as library

    return library


def token_ids(text):
    if text.startswith("@"):
        text = pathlib.Path(text[1:]).read_text(encoding="ascii")
    return [int(part) for part in text.replace(",", " ").split()]


def open_model(library, path):
    library.llama_backend_init()
    params = library.llama_model_default_params()
    params.n_gpu_layers = 0
    model = library.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        sys.exit(f"llama.cpp cannot load {path}")
    return model


def open_context(library, model, tokens, args):
    kv = {"f32": 0, "f16": 1}[args.kv]
    params = library.llama_context_default_params()
    params.n_ctx = max(len(tokens), 32)
    params.n_batch = params.n_ubatch = len(tokens)
    params.n_outputs_max = len(tokens)
    params.n_threads = params.n_threads_batch = args.threads
    params.type_k = params.type_v = kv
    params.flash_attn_type = 1 if args.flash else 0
    params.swa_full = True
    context = library.llama_init_from_model(model, params)
    if not context:
        sys.exit("llama.cpp cannot make a context")
    return context


def add_adapter(library, model, context, args):
    adapter = library.llama_adapter_lora_init(model, os.fsencode(args.lora))
    if not adapter:
        sys.exit(f"llama.cpp cannot load the adapter {args.lora}")
    adapters = (library.llama_adapter_lora_p_ctypes * 1)(
        ctypes.cast(adapter, library.llama_adapter_lora_p_ctypes)
    )
    strengths = (ctypes.c_float * 1)(args.strength)
    if library.llama_set_adapters_lora(context, adapters, 1, strengths) != 0:
        sys.exit("llama.cpp refused the adapter")


def rows(library, context, tokens, width, step):
    """Yields the logits after each token as raw bytes, batch by batch."""
    for start in range(0, len(tokens), step):
        part = tokens[start : start + step]
        batch = library.llama_batch_init(len(part), 0, 1)
        batch.n_tokens = len(part)
        for index, token in enumerate(part):
            batch.token[index] = token
            batch.pos[index] = start + index
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = 0
            batch.logits[index] = True
        if library.llama_decode(context, batch) != 0:
            sys.exit("llama.cpp refused the batch")
        for index in range(len(part)):
            row = library.llama_get_logits_ith(context, index)
            yield ctypes.string_at(row, width * 4)
        library.llama_batch_free(batch)


def main():
    args = options()
    library = load_library(args.oracle)
    tokens = token_ids(args.tokens)
    model = open_model(library, args.model)
    context = open_context(library, model, tokens, args)
    if args.lora:
        add_adapter(library, model, context, args)
    width = library.llama_vocab_n_tokens(library.llama_model_get_vocab(model))
    with open(args.out, "wb") as out:
        for row in rows(library, context, tokens, width, args.step or len(tokens)):
            out.write(row)
    print(json.dumps({"tokens": len(tokens), "vocab": width}))


if __name__ == "__main__":
    main()
