"""Speed of another program's Python package on a GGUF file, for `cargo xtask bench --beside`.

    python rivals.py mistralrs MODEL.gguf --prompt 512 --gen 64 --threads 2

Runs once to warm up (a quarter of the work) and once more, greedily, each time on another prompt,
so that nothing of it is cached. Prints one JSON object in the last line: tokens per second as the
program itself counts them, or why it refused the model.
"""

import argparse
import json
import os
import pathlib
import signal

# A program that hangs is ended by the system.
LIMIT_S = 900

WORDS = "time and the river went down to a small town where old men read long books".split()


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", choices=sorted(PROGRAMS))
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file")
    parser.add_argument("--prompt", type=int, default=512, help="tokens read")
    parser.add_argument("--gen", type=int, default=64, help="tokens written")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def turns(args):
    """Tokens read and written to warm up, and to be measured."""
    return [(args.prompt // 4 + 1, args.gen // 4 + 1), (args.prompt, args.gen)]


def mistralrs(args):
    """Takes text only, so the prompt is as many words as come to as many tokens."""
    os.environ["RAYON_NUM_THREADS"] = str(args.threads)
    from mistralrs import CompletionRequest, Runner, Which

    model = args.model.resolve()
    which = Which.GGUF(quantized_model_id=str(model.parent), quantized_filename=model.name)
    runner = Runner(which=which, prefix_cache_n=0, max_seqs=1)

    def text(prompt):
        words = []
        while len(runner.tokenize_text(" ".join(words), True, None)) < prompt:
            words.append(WORDS[(prompt + len(words) * len(words)) % len(WORDS)])
        return " ".join(words)

    for prompt, gen in turns(args):
        request = CompletionRequest(
            prompt=text(prompt),
            model="default",
            max_tokens=gen,
            temperature=0.0,
            ignore_eos=True,
        )
        usage = runner.send_completion_request(request).usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "prefill_tok_s": usage.avg_prompt_tok_per_sec,
        "decode_tok_s": usage.avg_compl_tok_per_sec,
    }


def openvino(args):
    import numpy
    from openvino import Tensor
    from openvino_genai import GenerationConfig, LLMPipeline, TokenizedInputs

    pipeline = LLMPipeline(args.model, "CPU", INFERENCE_NUM_THREADS=args.threads)
    for prompt, gen in turns(args):
        config = GenerationConfig(max_new_tokens=gen, ignore_eos=True, do_sample=False)
        # Ids of plain text in every vocabulary of some size.
        ids = 1000 + (numpy.arange(prompt, dtype=numpy.int64) + prompt) * 7919 % 30000
        ids = ids.reshape(1, -1)
        inputs = TokenizedInputs(Tensor(ids), Tensor(numpy.ones_like(ids)))
        metrics = pipeline.generate(inputs, config).perf_metrics
    return {
        "prompt_tokens": metrics.get_num_input_tokens(),
        "output_tokens": metrics.get_num_generated_tokens(),
        "prefill_tok_s": args.prompt / metrics.get_ttft().mean * 1e3,
        "decode_tok_s": 1e3 / metrics.get_tpot().mean,
    }


PROGRAMS = {"mistralrs": mistralrs, "openvino": openvino}


def main():
    args = options()
    signal.alarm(LIMIT_S)
    try:
        report = PROGRAMS[args.program](args)
    except Exception as error:
        # The first lines of a C++ error are places in its source.
        report = {"refused": f"{type(error).__name__}: {error}".strip().splitlines()[-1]}
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
