"""Makes a tiny model with random weights by the transformers library, and what that computes.

    python transformers_rows.py testdata/import/NAME.json.xz --tokens 1,2,3 --folder OUT --out X.f32

The golden gives the configuration and the tokenizer's files of the folder OUT; the weights are new.
Writes little-endian f32 rows: of a decoder the logits after every token, of an encoder the pooled
row of every beginning of the tokens. Prints one JSON object in the last line: the version, or why
the library refused the model.
"""

import argparse
import json
import lzma
import pathlib

SEED = 7


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("golden", type=pathlib.Path, help="what an import is compared with")
    parser.add_argument("--tokens", required=True, help="ids with commas")
    parser.add_argument("--folder", required=True, type=pathlib.Path, help="folder to make")
    parser.add_argument("--out", required=True, help="file to write")
    return parser.parse_args()


def write_files(golden, folder):
    """Everything of the folder but the weights."""
    files = json.loads(lzma.open(golden).read())["files"]
    # All weights are in one file here.
    files.pop("model.safetensors.index.json", None)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes.fromhex(content))


def text_config(folder):
    """The configuration of the part that reads text, and what its tensors' names begin with."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    inner = getattr(config, "text_config", None)
    # What follows from the padding token is left out of a row there.
    (inner or config).pad_token_id = None
    return (inner or config), ("language_model." if inner else "")


def make(config):
    """The model, with weights far from those that training begins with: nothing cancels."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

    torch.manual_seed(SEED)
    config._attn_implementation = "eager"
    name = (config.architectures or [""])[0]
    kind = AutoModelForCausalLM
    if name.startswith("Bert"):
        kind = AutoModelForMaskedLM if name.endswith("MaskedLM") else AutoModel
    model = kind.from_config(config).to(torch.float32).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() > 1:
                weights.normal_(0, 0.3 if "embed" in name else 1.5 / weights.shape[-1] ** 0.5)
            elif name.lower().endswith("norm.weight"):
                weights.add_(torch.randn_like(weights) * 0.2)
            else:
                weights.normal_(0, 0.3)
    return model


def save(model, config, start, folder):
    from safetensors.torch import save_file

    state = {start + name: value.clone() for name, value in model.state_dict().items()}
    if getattr(config, "tie_word_embeddings", False):
        state.pop(start + "lm_head.weight", None)
    save_file(state, folder / "model.safetensors")


def rows(model, folder, tokens):
    """What is compared."""
    import torch

    with torch.no_grad():
        if not model.config.model_type.startswith("bert"):
            return model(torch.tensor([tokens])).logits[0]
        path = folder / "1_Pooling/config.json"
        pooling = json.loads(path.read_text()) if path.exists() else {}
        first = pooling.get("pooling_mode") == "cls" or pooling.get("pooling_mode_cls_token")
        encoder = getattr(model, "bert", model)
        found = []
        for length in range(1, len(tokens) + 1):
            states = encoder(torch.tensor([tokens[:length]])).last_hidden_state[0]
            found.append(states[0] if first else states.mean(0))
        return torch.stack(found)


def main():
    args = options()
    tokens = [int(token) for token in args.tokens.split(",")]
    write_files(args.golden, args.folder)
    import transformers

    try:
        config, start = text_config(args.folder)
    except ValueError as error:
        print(json.dumps({"refused": str(error).split(". ")[0]}))
        return
    model = make(config)
    save(model, config, start, args.folder)
    found = rows(model, args.folder, tokens)
    pathlib.Path(args.out).write_bytes(found.contiguous().numpy().astype("<f4").tobytes())
    print(json.dumps({"version": transformers.__version__}))


if __name__ == "__main__":
    main()
