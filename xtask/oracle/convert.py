"""Makes goldens of imports: tiny folders of models, and what llama.cpp's converter makes of them.

    python convert.py --llama-cpp FOLDER --text alice.txt --out testdata/import [CASE...]

FOLDER is llama.cpp's source, whose requirements for `convert_hf_to_gguf.py` this Python has.
Weights are made from a rule that the tests know too, and are not in the golden; of what the
converter writes it holds numbers, words and hashes. The converter knows a tokenizer by a hash of
what it makes of a text, which no tokenizer trained here can have: the answer is put in its place,
and is that which it gives for the tokenizer that this one is made like.
"""

import argparse
import hashlib
import json
import lzma
import pathlib
import shutil
import sys
import tempfile

import numpy as np

from convert_cases import CASES
from convert_tokenizers import write_tokenizer

BITS = {"F32": 24, "F16": 11, "BF16": 8}
TYPES = ["f32", "f16", "bf16", "q8_0", "auto"]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help="which cases; all if none is named")
    parser.add_argument("--llama-cpp", required=True, help="folder of llama.cpp's source")
    parser.add_argument("--text", required=True, help="text to train tokenizers on")
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--keep", help="folder in which the models' folders are kept")
    return parser.parse_args()


def weights(number, dtype, shape):
    """Elements of the tensor of that number: a mixed counter, as many bits as the type holds."""
    count = int(np.prod(shape))
    x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x += np.uint64((number * 0xD1B54A32D192ED03) % 2**64)
    x ^= x >> np.uint64(32)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    bits = BITS[dtype]
    top = (x >> np.uint64(64 - bits)).astype(np.float32)
    values = (top / np.float32(2 ** (bits - 1)) - np.float32(1)) / np.float32(8)
    if dtype == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).reshape(shape)
    return values.astype({"F32": np.float32, "F16": np.float16}[dtype]).reshape(shape)


def write_safetensors(path, tensors):
    """Writes tensors of a file: number, name, type, shape."""
    header, data = {}, b""
    for number, name, dtype, shape in tensors:
        piece = weights(number, dtype, shape).tobytes()
        offsets = [len(data), len(data) + len(piece)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += piece
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_folder(folder, case, text):
    """Everything of a case; gives its tensors with their files."""
    for name, content in case.get("files", {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(case["config"], indent=1), encoding="utf-8")
    write_tokenizer(folder, case, text)
    tensors = [[number, *tensor] for number, tensor in enumerate(case["tensors"])]
    shards = case.get("shards", 1)
    if shards == 1:
        placed = {"model.safetensors": tensors}
    else:
        names = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
        placed = {name: tensors[i::shards] for i, name in enumerate(names)}
        places = {tensor[1]: name for name, part in placed.items() for tensor in part}
        index = json.dumps({"metadata": {}, "weight_map": places}, indent=1)
        (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")
    for name, part in placed.items():
        write_safetensors(folder / name, part)
    return placed


def convert(args, folder, case, outtype, out):
    """Runs the converter."""
    import convert_hf_to_gguf
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: case["pre"]
    sys.argv = ["convert", str(folder), "--outtype", outtype, "--outfile", str(out)]
    convert_hf_to_gguf.main()


def facts(path):
    """Keys and tensors of a file."""
    import gguf

    reader = gguf.GGUFReader(path)
    keys = {}
    for name, field in reader.fields.items():
        if name.startswith("GGUF."):
            continue
        kind = field.types[0].name
        if kind == "ARRAY":
            digest = hashlib.sha256()
            for part in field.parts[4:]:
                digest.update(part.tobytes())
            keys[name] = [kind, field.types[-1].name, len(field.data), digest.hexdigest()]
        elif kind == "STRING":
            keys[name] = [kind, field.contents()]
        else:
            keys[name] = [kind, field.parts[-1].tolist()[0]]
    tensors = []
    for tensor in reader.tensors:
        digest = hashlib.sha256(tensor.data.tobytes()).hexdigest()
        dims = [int(dim) for dim in tensor.shape]
        tensors.append([tensor.name, tensor.tensor_type.name, dims, digest])
    return keys, tensors


def golden(args, name, case, text):
    """One case."""
    folder = pathlib.Path(tempfile.mkdtemp()) / name
    folder.mkdir()
    placed = write_folder(folder, case, text)
    files = {}
    for file in sorted(folder.rglob("*.*")):
        if file.suffix != ".safetensors":
            files[str(file.relative_to(folder))] = file.read_bytes().hex()
    outputs = {}
    for outtype in case.get("types", TYPES):
        out = folder.parent / f"{outtype}.gguf"
        convert(args, folder, case, outtype, out)
        outputs[outtype] = dict(zip(("keys", "tensors"), facts(out)))
        if args.keep:
            shutil.copy(out, pathlib.Path(args.keep) / f"{name}-{outtype}.gguf")
    if args.keep:
        shutil.copytree(folder, pathlib.Path(args.keep) / name, dirs_exist_ok=True)
    shutil.rmtree(folder.parent)
    whole = {"source": "llama-cpp-python 0.3.36", "files": files, "weights": placed}
    content = json.dumps(whole | {"outputs": outputs}, separators=(",", ":")).encode()
    path = pathlib.Path(args.out) / f"{name}.json.xz"
    path.write_bytes(lzma.compress(content, preset=9, check=lzma.CHECK_CRC32))


def main():
    args = options()
    sys.path.insert(0, args.llama_cpp)
    text = pathlib.Path(args.text).read_text(encoding="utf-8")
    for name in args.cases or CASES:
        golden(args, name, CASES[name], text)


if __name__ == "__main__":
    main()
