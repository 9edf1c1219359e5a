"""Makes a golden of an encoder: what llama.cpp gives for each of some texts.

    python embeddings.py --oracle target/oracle MODEL.gguf --texts "1,2,3;4,5" --out NAME.json

Each text is read by itself, pooled as the model's file says. The test that reads the golden writes
the model again from its seed; the hash of the file tells a change of the writer from a change of
the arithmetic.
"""

import argparse
import hashlib
import json
import os
import pathlib
import sys

from logits import load_library, open_model


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--oracle", required=True, help="folder with build and package")
    parser.add_argument("--texts", required=True, help="ids with commas, texts with semicolons")
    parser.add_argument("--out", required=True, help="file to write")
    return parser.parse_args()


def open_context(library, model, longest):
    params = library.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = max(longest, 32)
    params.embeddings = True
    params.n_threads = params.n_threads_batch = 2
    params.flash_attn_type = 0
    context = library.llama_init_from_model(model, params)
    if not context:
        sys.exit("llama.cpp cannot make a context")
    return context


def embed(library, model, context, tokens):
    """The pooled row of one text."""
    batch = library.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        batch.token[index] = token
        batch.pos[index] = index
        batch.n_seq_id[index] = 1
        batch.seq_id[index][0] = 0
        batch.logits[index] = True
    if library.llama_encode(context, batch) != 0:
        sys.exit("llama.cpp refused the text")
    row = library.llama_get_embeddings_seq(context, 0)
    rank = library.llama_pooling_type(context) == 4
    width = library.llama_model_n_cls_out(model) if rank else library.llama_model_n_embd(model)
    values = [float(f"{row[index]:.7g}") for index in range(width)]
    library.llama_batch_free(batch)
    return values


def main():
    args = options()
    texts = [[int(token) for token in text.split(",")] for text in args.texts.split(";")]
    library = load_library(args.oracle)
    model = open_model(library, args.model)
    context = open_context(library, model, max(map(len, texts)))
    golden = {
        "model_sha256": hashlib.sha256(pathlib.Path(args.model).read_bytes()).hexdigest(),
        "source": "llama-cpp-python 0.3.36",
        "texts": [
            {"tokens": tokens, "row": embed(library, model, context, tokens)} for tokens in texts
        ],
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"tokens"', '\n{"tokens"')
    pathlib.Path(args.out).write_text(text + "\n", encoding="ascii")
    # What llama.cpp leaves behind at exit may hang; nothing is lost by not waiting for it.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
