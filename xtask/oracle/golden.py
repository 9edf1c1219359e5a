"""Makes a golden: a few rows of llama.cpp's logits for a tiny model that our own tests write.

    python golden.py --oracle target/oracle MODEL.gguf --tokens 1,2,3 --rows 0,2 --out NAME.json

The test that reads the golden writes the model again from its seed; the hash of the file tells a
change of the writer from a change of the arithmetic.
"""

import argparse
import hashlib
import json
import pathlib
import struct
import subprocess
import sys
import tempfile


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--oracle", required=True, help="folder with build and package")
    parser.add_argument("--tokens", required=True, help="ids with commas between")
    parser.add_argument("--rows", required=True, help="which rows to keep, from 0")
    parser.add_argument("--out", required=True, help="file to write")
    return parser.parse_args()


def all_rows(args, count):
    """Every row of logits, by the script beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "rows.f32"
        script = pathlib.Path(__file__).with_name("logits.py")
        command = [sys.executable, script, "--oracle", args.oracle, args.model]
        command += ["--tokens", args.tokens, "--out", out]
        subprocess.run(command, check=True, capture_output=True)
        data = out.read_bytes()
    width = len(data) // 4 // count
    return [struct.unpack_from(f"<{width}f", data, 4 * width * row) for row in range(count)]


def main():
    args = options()
    tokens = [int(token) for token in args.tokens.split(",")]
    rows = all_rows(args, len(tokens))
    golden = {
        "model_sha256": hashlib.sha256(pathlib.Path(args.model).read_bytes()).hexdigest(),
        "source": "llama-cpp-python 0.3.36",
        "tokens": tokens,
        "rows": [
            {"after": row, "logits": [float(f"{value:.7g}") for value in rows[row]]}
            for row in (int(part) for part in args.rows.split(","))
        ],
    }
    text = json.dumps(golden, separators=(",", ":")).replace('{"after"', '\n{"after"')
    pathlib.Path(args.out).write_text(text + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
