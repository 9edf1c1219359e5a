"""Tokenizers of a few hundred tokens for `convert.py`, made like those of real models."""

import json

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{END}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{END}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def write_tokenizer(folder, case, text):
    """The tokenizer's files of a case."""
    rule = case["tokenizer"]
    {"sentencepiece": sentencepiece, "bpe": bpe, "wordpiece": wordpiece}[rule["kind"]](
        folder, rule, text
    )
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    settings.update(rule.get("settings", {}))
    path.write_text(json.dumps(settings, indent=1, ensure_ascii=False), encoding="utf-8")
    if "template_file" in rule:
        (folder / "chat_template.jinja").write_text(rule["template_file"], encoding="utf-8")


def bpe(folder, rule, text):
    """BPE over bytes."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from tokenizers import processors, trainers

    cuts = {"llama3": LLAMA3, "qwen2": QWEN2, "gpt4o": GPT4O, "tekken": TEKKEN}
    tokenizer = Tokenizer(models.BPE(ignore_merges=rule.get("ignore_merges", False)))
    if rule["words"] == "smollm":
        first = pre_tokenizers.Digits(individual_digits=True)
        second = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    else:
        first = pre_tokenizers.Split(Regex(cuts[rule["words"]]), "isolated", invert=False)
        second = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, second])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=rule["size"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    for content, special, normalized in rule["added"]:
        token = AddedToken(content, special=special, normalized=normalized)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    steps = [processors.ByteLevel(trim_offsets=False)]
    if bos := rule.get("bos"):
        number = tokenizer.token_to_id(bos)
        steps.append(
            processors.TemplateProcessing(
                single=f"{bos} $A", pair=f"{bos} $A {bos} $B:1", special_tokens=[(bos, number)]
            )
        )
    tokenizer.post_processor = processors.Sequence(steps)
    tokenizer.save(str(folder / "tokenizer.json"))


def wordpiece(folder, rule, text):
    """WordPiece, with one kind of file."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers import processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=rule["lowercase"], strip_accents=rule.get("strip_accents")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=rule["size"], special_tokens=rule["special"], show_progress=False
    )
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    for content, special in rule.get("added", []):
        token = AddedToken(content, special=special, normalized=not special)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])
    ids = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    if rule.get("only_lines"):
        lines = [tokenizer.id_to_token(id) + "\n" for id in range(tokenizer.get_vocab_size())]
        (folder / "vocab.txt").write_text("".join(lines), encoding="utf-8")
    else:
        tokenizer.save(str(folder / "tokenizer.json"))


def sentencepiece(folder, rule, text):
    """BPE over characters with bytes to fall back to, with both kinds of file."""
    import io

    import sentencepiece as spm
    from transformers import GemmaTokenizerFast, LlamaTokenizerFast

    model = io.BytesIO()
    lines = (line for line in text.splitlines() if line.strip())
    spm.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="bpe",
        vocab_size=rule["size"],
        byte_fallback=True,
        character_coverage=0.999,
        num_threads=1,
        minloglevel=2,
        normalization_rule_name="identity",
        **rule.get("train", {}),
    )
    path = folder / "tokenizer.model"
    path.write_bytes(model.getvalue())
    kind = GemmaTokenizerFast if rule.get("gemma") else LlamaTokenizerFast
    tokenizer = kind(vocab_file=str(path), **rule.get("arguments", {}))
    for content, special in rule["added"]:
        from tokenizers import AddedToken

        token = AddedToken(content, special=special, normalized=False)
        tokenizer.add_tokens([token], special_tokens=special)
    tokenizer.save_pretrained(folder)
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    if not rule.get("keep_added_file"):
        (folder / "added_tokens.json").unlink(missing_ok=True)
    if rule.get("only_json"):
        path.unlink()
