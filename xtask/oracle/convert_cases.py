"""The tiny models of `convert.py`: configuration, tensors and tokenizer of each."""

CHAT = "{% for message in messages %}{{ message.content }}{% endfor %}"


def decoder(config, dtype, norms=(), fused=False, biases=(), tied=True, head=()):
    """The tensors of a decoder: name, type, shape."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or width // heads
    query, key = heads * head_dim, config["num_key_value_heads"] * head_dim
    tensors = [("model.embed_tokens.weight", dtype, [config["vocab_size"], width])]
    for layer in range(config["num_hidden_layers"]):
        if fused:
            parts = [("self_attn.qkv_proj", [query + 2 * key, width])]
            parts += [("mlp.gate_up_proj", [2 * inner, width])]
        else:
            parts = [("self_attn.q_proj", [query, width]), ("self_attn.k_proj", [key, width])]
            parts += [("self_attn.v_proj", [key, width]), ("mlp.gate_proj", [inner, width])]
            parts += [("mlp.up_proj", [inner, width])]
        parts += [("self_attn.o_proj", [width, query]), ("mlp.down_proj", [width, inner])]
        parts += [(norm, [width]) for norm in ("input_layernorm", "post_attention_layernorm")]
        parts += [(norm, [width]) for norm in norms]
        parts += [(f"self_attn.{norm}", [head_dim]) for norm in head]
        start = f"model.layers.{layer}."
        tensors += [(f"{start}{name}.weight", dtype, shape) for name, shape in parts]
        sizes = dict(parts)
        tensors += [(f"{start}{name}.bias", dtype, sizes[name][:1]) for name in biases]
    tensors += [("model.norm.weight", dtype, [width])]
    return tensors + ([] if tied else [("lm_head.weight", dtype, [config["vocab_size"], width])])


def config(name, kind, **more):
    """A configuration of the size that all have, but for what is given."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 400}
    sizes |= {"max_position_embeddings": 512, "rms_norm_eps": 1e-5, "hidden_act": "silu"}
    return {"architectures": [name], "model_type": kind} | sizes | more


def bpe(words, added, **more):
    """A tokenizer over bytes."""
    return {"kind": "bpe", "words": words, "size": 320, "added": added} | more


def spm(added, **more):
    """A tokenizer over characters."""
    return {"kind": "sentencepiece", "size": 380, "added": added} | more


def case(config, tokenizer, pre="none", more=None, **tensors):
    """One case."""
    dtype = tensors.pop("dtype")
    made = {"config": config, "tensors": decoder(config, dtype, **tensors)}
    return made | {"tokenizer": tokenizer, "pre": pre} | (more or {})


LLAMA3 = config(
    "LlamaForCausalLM", "llama", rope_theta=500000.0, head_dim=32,
    rope_scaling={
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 256,
    },
    eos_token_id=[321, 322], bos_token_id=320,
)
LLAMA3_TOKENS = bpe(
    "llama3",
    [("<|begin|>", True, False), ("<|end|>", True, False), ("<|turn|>", True, False),
     ("word▁of", False, False), ("normal", False, True)],
    bos="<|begin|>", ignore_merges=True,
    settings={
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>",
        "eos_token": "<|turn|>", "chat_template": CHAT,
    },
)
SAMPLING = {"files": {"generation_config.json": {
    "temperature": 0.6, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1, "do_sample": True,
}}}
TINYLLAMA = config("LlamaForCausalLM", "llama", hidden_size=48, rope_theta=10000.0)
SMOLLM2 = config(
    "LlamaForCausalLM", "llama", vocab_size=49152, hidden_size=32, num_key_value_heads=4,
    rope_theta=100000, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
)
IM_START = [("<|endoftext|>", True, False), ("<|im_start|>", True, False),
            ("<|im_end|>", True, False)]
MISTRAL = config("MistralForCausalLM", "mistral", head_dim=16, sliding_window=4096, rope_theta=1e6)
QWEN2 = config(
    "Qwen2ForCausalLM", "qwen2", rope_theta=1000000.0, bos_token_id=320, eos_token_id=322,
    rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
)
QWEN3 = config("Qwen3ForCausalLM", "qwen3", head_dim=32, rope_theta=1000000, rope_scaling=None)
QWEN_TOKENS = bpe(
    "qwen2", IM_START + [("<think>", False, False)],
    settings={
        "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "add_prefix_space": False,
        "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
    },
    template_file=CHAT + "\n",
)
GEMMA = {"hidden_activation": "gelu_pytorch_tanh", "head_dim": 32, "rms_norm_eps": 1e-6}
GEMMA2 = config(
    "Gemma2ForCausalLM", "gemma2", attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
    sliding_window=64, query_pre_attn_scalar=32, bos_token_id=2, eos_token_id=1, pad_token_id=0,
    **(GEMMA | {"hidden_act": "gelu_pytorch_tanh"}),
)
GEMMA3 = config(
    "Gemma3ForCausalLM", "gemma3_text", sliding_window=64, query_pre_attn_scalar=32,
    rope_theta=1000000, rope_local_base_freq=10000, eos_token_id=[1, 106],
    rope_scaling={"factor": 8.0, "rope_type": "linear"}, vocab_size=390,
    **(GEMMA | {"hidden_act": "gelu_pytorch_tanh"}),
)
GEMMA_NORMS = ("pre_feedforward_layernorm", "post_feedforward_layernorm")
GEMMA_TOKENS = spm(
    [("<start_of_turn>", True), ("<end_of_turn>", False), ("\n\n", False), ("▁▁", False)],
    gemma=True,
    train={"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "unk_surface": " ",
           "add_dummy_prefix": False, "remove_extra_whitespaces": False,
           "pad_piece": "<pad>", "eos_piece": "<eos>", "bos_piece": "<bos>",
           "user_defined_symbols": ["<mask>", "<unused0>"]},
    settings={"chat_template": [{"name": "default", "template": CHAT},
                                {"name": "tool-use", "template": "tools"}]},
)
SEES = config("Gemma3ForConditionalGeneration", "gemma3")
SEES = {key: SEES[key] for key in ("architectures", "model_type")} | {
    "text_config": {key: GEMMA3[key] for key in (
        "hidden_size", "intermediate_size", "num_hidden_layers", "sliding_window", "vocab_size",
        "num_attention_heads", "num_key_value_heads", "head_dim", "query_pre_attn_scalar",
    )} | {"model_type": "gemma3_text", "rope_scaling": {"factor": 8.0, "rope_type": "linear"}},
    "vision_config": {"hidden_size": 32, "model_type": "siglip_vision_model"},
    "eos_token_id": [1, 106],
}
PHI3 = config(
    "Phi3ForCausalLM", "phi3", num_key_value_heads=4, original_max_position_embeddings=128,
    sliding_window=2047, rope_theta=10000.0, bos_token_id=1, eos_token_id=2, pad_token_id=382,
    rope_scaling={"type": "longrope", "long_factor": [1.0 + i / 4 for i in range(8)],
                  "short_factor": [1.0 + i / 16 for i in range(8)]},
)
PHI4MINI = config(
    "Phi3ForCausalLM", "phi3", original_max_position_embeddings=128, partial_rotary_factor=0.75,
    rope_theta=10000.0, sliding_window=262144, tie_word_embeddings=True,
    rope_scaling={"type": "longrope", "long_factor": [1.0 + i / 8 for i in range(6)],
                  "short_factor": [1.0] * 6},
)
SMOLLM3 = config(
    "SmolLM3ForCausalLM", "smollm3", num_hidden_layers=4, rope_theta=5000000.0,
    no_rope_layers=[1, 1, 1, 0], no_rope_layer_interval=4, pad_token_id=322, eos_token_id=322,
)

BERT = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 64, "hidden_act": "gelu",
    "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 400,
    "max_position_embeddings": 128, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
    "pad_token_id": 0, "position_embedding_type": "absolute",
}
NOMIC_BERT = {
    "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "n_embd": 64, "n_inner": 96,
    "n_layer": 2, "n_head": 4, "vocab_size": 400, "n_positions": 8192, "type_vocab_size": 2,
    "max_trained_positions": 2048, "layer_norm_epsilon": 1e-12, "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "rotary_emb_scale_base": None,
    "activation_function": "swiglu", "causal": False, "prenorm": False, "qkv_proj_bias": False,
    "mlp_fc1_bias": False, "mlp_fc2_bias": False, "pad_vocab_size_multiple": 64,
}
BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Where the first vocabulary of BERT has them.
BERT_PLACES = ["[PAD]", *(f"[unused{i}]" for i in range(99)), *BERT_SPECIAL[1:]]


def bert(config, dtype, start="", norm=("weight", "bias"), heads=()):
    """The tensors of an encoder."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    rows = {"word": "vocab_size", "position": "max_position_embeddings",
            "token_type": "type_vocab_size"}
    names = [(f"embeddings.{name}_embeddings.weight", [config[key], width])
             for name, key in rows.items()]
    linear = {f"attention.self.{part}": [width, width] for part in ("query", "key", "value")}
    linear |= {"attention.output.dense": [width, width], "intermediate.dense": [inner, width]}
    linear |= {"output.dense": [width, inner]}
    norms = ["embeddings.LayerNorm"]
    for layer in (f"encoder.layer.{i}." for i in range(config["num_hidden_layers"])):
        for name, shape in linear.items():
            names += [(f"{layer}{name}.weight", shape), (f"{layer}{name}.bias", shape[:1])]
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    names += [(f"{name}.{kind}", [width]) for name in norms for kind in norm]
    return [(start + name, dtype, shape) for name, shape in names] + list(heads)


def nomic_bert(config, dtype):
    """The tensors of Nomic's encoder."""
    width, inner = config["n_embd"], config["n_inner"]
    names = [("embeddings.word_embeddings.weight", [config["vocab_size"], width])]
    names += [("embeddings.token_type_embeddings.weight", [config["type_vocab_size"], width])]
    norms = ["emb_ln"]
    for layer in (f"encoder.layers.{i}." for i in range(config["n_layer"])):
        parts = {"attn.Wqkv": [3 * width, width], "attn.out_proj": [width, width]}
        parts |= {"mlp.fc11": [inner, width], "mlp.fc12": [inner, width]}
        parts |= {"mlp.fc2": [width, inner]}
        names += [(f"{layer}{name}.weight", shape) for name, shape in parts.items()]
        norms += [layer + "norm1", layer + "norm2"]
    names += [(f"{name}.{kind}", [width]) for name in norms for kind in ("weight", "bias")]
    return [(name, dtype, shape) for name, shape in names]


def wordpiece(special, **more):
    """A tokenizer as BERT's."""
    roles = {"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": more["lowercase"]}
    settings |= {f"{role}_token": text for role, text in roles.items()}
    return {"kind": "wordpiece", "size": 380, "special": special, "settings": settings} | more


def pooled(way):
    """The files that say how rows become one."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    steps = [{"idx": idx, "name": str(idx), "path": path,
              "type": f"sentence_transformers.models.{kind}"}
             for idx, (path, kind) in enumerate(kinds.items())]
    return {"modules.json": steps, "1_Pooling/config.json": way}


CASES = {
    "llama3": case(LLAMA3, LLAMA3_TOKENS, "llama-bpe", SAMPLING, dtype="F32", tied=False),
    "tinyllama": case(
        TINYLLAMA,
        spm([("<|user|>", True), ("▁▁x", False)], keep_added_file=True,
            arguments={"add_bos_token": True, "add_eos_token": False, "legacy": False},
            settings={"chat_template": CHAT, "pad_token": "</s>"}),
        more={"shards": 3}, dtype="BF16", tied=False,
    ),
    "smollm2": case(
        SMOLLM2,
        bpe("smollm", IM_START, settings={
            "tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False,
            "bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>",
            "pad_token": "<|im_end|>",
        }),
        "smollm", {"types": ["auto", "q8_0"]}, dtype="BF16",
    ),
    "mistral": case(
        MISTRAL,
        bpe("tekken", [("<s>", True, False), ("</s>", True, False), ("[INST]", True, False)],
            bos="<s>", ignore_merges=True,
            settings={"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>",
                      "eos_token": "</s>"}),
        "tekken", dtype="F16", tied=False,
    ),
    "qwen2": case(
        QWEN2, QWEN_TOKENS, "qwen2", dtype="BF16",
        biases=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ),
    "qwen3": case(QWEN3, QWEN_TOKENS, "qwen2", dtype="BF16", head=("q_norm", "k_norm")),
    "gemma2": case(GEMMA2, GEMMA_TOKENS, dtype="BF16", norms=GEMMA_NORMS),
    "gemma3": case(GEMMA3, GEMMA_TOKENS, dtype="F16", norms=GEMMA_NORMS, head=("q_norm", "k_norm")),
    "phi3": case(
        PHI3,
        spm([("<|end|>", True), ("<|user|> ", False)],
            settings={"tokenizer_class": "LlamaTokenizer", "add_bos_token": False}),
        dtype="BF16", fused=True, tied=False,
    ),
    "phi4mini": case(
        PHI4MINI,
        bpe("gpt4o", [("<|endoftext|>", True, False), ("<|end|>", True, False)],
            settings={"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>",
                      "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}),
        "gpt-4o", dtype="BF16", fused=True,
    ),
    "smollm3": case(
        SMOLLM3,
        bpe("llama3", IM_START, ignore_merges=True, settings={
            "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None,
            "eos_token": "<|im_end|>",
        }),
        "smaug-bpe", dtype="BF16",
    ),
    "bert": {
        "config": BERT,
        "tensors": bert(BERT, "F32", heads=[
            ("embeddings.position_ids", "F32", [1, 128]), ("pooler.dense.weight", "F32", [64, 64]),
            ("pooler.dense.bias", "F32", [64]),
        ]),
        "tokenizer": wordpiece(
            BERT_PLACES, lowercase=True, added=[("[SPECIAL]", True), ("a word", False)]
        ),
        "pre": "jina-v2-en",
        "files": pooled({"word_embedding_dimension": 64, "pooling_mode_cls_token": False,
                         "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}),
    },
    "bert-masked": {
        "config": BERT | {"architectures": ["BertForMaskedLM"], "hidden_size": 48},
        "tensors": bert(BERT | {"hidden_size": 48}, "F16", "bert.", ("gamma", "beta"), [
            ("cls.predictions.bias", "F16", [400]),
            ("cls.predictions.transform.dense.weight", "F16", [48, 48]),
        ]),
        "tokenizer": wordpiece(BERT_SPECIAL, lowercase=False, strip_accents=False),
        "pre": "jina-v2-en",
        "files": pooled({"embedding_dimension": 48, "pooling_mode": "cls"}),
    },
    "bert-lines": {
        "config": BERT,
        "tensors": bert(BERT, "BF16"),
        "tokenizer": wordpiece(BERT_PLACES, lowercase=True, only_lines=True),
        "pre": "jina-v2-en",
    },
    "nomic-bert": {
        "config": NOMIC_BERT,
        "tensors": nomic_bert(NOMIC_BERT, "F32"),
        "tokenizer": wordpiece(BERT_PLACES, lowercase=True),
        "pre": "jina-v2-en",
        "files": pooled({"word_embedding_dimension": 64, "pooling_mode_cls_token": False,
                         "pooling_mode_mean_tokens": True, "include_prompt": True}),
    },
}

SEEN = [
    ("vision_tower.vision_model.embeddings.position_embedding.weight", "F16", [4, 32]),
    ("multi_modal_projector.mm_soft_emb_norm.weight", "F16", [32]),
]
CASES["gemma3-sees"] = CASES["gemma3"] | {
    "config": SEES,
    "types": ["auto"],
    "tensors": [("language_model." + name, *rest) for name, *rest in CASES["gemma3"]["tensors"]]
    + SEEN,
}
