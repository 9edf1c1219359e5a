"""Makes a golden of a real encoder: what transformers gives for each of some texts.

    python sentence_rows.py FOLDER --out testdata/golden/minilm-l6-v2.json

FOLDER is the model's, as its makers publish it; its rows are pooled by their mean and made of
length 1. The step `embeddings` of the gate compares with them.
"""

import argparse
import json
import pathlib

TEXTS = [
    "The capital of France is Paris.",
    "A man is feeding his dog in the garden.",
    "Ein Mann füttert seinen Hund im Garten.",
    "Interest rates rose by a quarter of a percentage point, the central bank said on Thursday.",
    "你好，世界！ Ünïcödé — naïve café, 1234567890.",
    "x",
    "The quick brown fox jumps over the lazy dog. " * 45,
]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="a folder of safetensors")
    parser.add_argument("--out", required=True, help="file to write")
    return parser.parse_args()


def main():
    args = options()
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(args.folder)
    model = transformers.AutoModel.from_pretrained(args.folder, torch_dtype=torch.float32).eval()
    texts = []
    for text in TEXTS:
        tokens = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        row = torch.nn.functional.normalize(states.mean(0), dim=0)
        texts.append({"text": text, "row": [float(f"{value:.7g}") for value in row.tolist()]})
    golden = {"source": f"transformers {transformers.__version__}", "texts": texts}
    text = json.dumps(golden, separators=(",", ":")).replace('{"text"', '\n{"text"')
    pathlib.Path(args.out).write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
