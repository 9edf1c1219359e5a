//! The pre-tokenizers: for each name in `tokenizer.ggml.pre`, how text is cut into words before
//! merging.
//!
//! This is the one list of names and of patterns. Above each pattern stands the regular expression
//! of the original tokenizer (a list of them runs one after the other); the rules are in
//! `split.rs`. Case-insensitive contractions are those of ASCII letters.

use super::classes::{LETTER, MARK, NUMBER, PUNCT, SPACE, SYMBOL, Set};
use super::split::Rule::{
    self, CasedWord, Contraction, ContractionAnyCase, Spaces, SpacesToLineEnd,
};
use super::split::Stage::{self, Cut, TrailingSpaces};
use super::split::run;

/// A way to cut text into words, and what else goes with its name.
pub(super) struct PreTokenizer {
    /// Values of `tokenizer.ggml.pre`.
    pub(super) names: &'static [&'static str],
    /// The passes over the text.
    pub(super) stages: &'static [Stage],
    /// A word that is a token as a whole is not built by merges.
    pub(super) whole_words: bool,
    /// Whether a text starts with the begin token where the file does not say.
    pub(super) add_bos: bool,
}

/// All known pre-tokenizers.
pub(super) const PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        stages: LLAMA3,
        whole_words: true,
        add_bos: true,
    },
    named(&["dbrx", "smaug-bpe", "chatglm-bpe"], LLAMA3),
    named(&["glm4", "glm5"], LLAMA3).with_whole_words(),
    named(&["minicpm5"], MINICPM5).with_whole_words(),
    named(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v1-en",
            "jina-v2-code",
            "roberta-bpe",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
        ],
        GPT2,
    ),
    named(
        &[
            "starcoder",
            "refact",
            "command-r",
            "smollm",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
        DIGITS_GPT2,
    ),
    named(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
            "bailingmoe",
            "bailingmoe2",
            "llada-moe",
        ],
        QWEN2,
    ),
    named(&["qwen35"], QWEN35),
    named(&["ufakzeka"], UFAKZEKA),
    named(&["seed-coder"], SEED_CODER),
    named(&["laguna"], LAGUNA),
    named(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], GPT4O),
    PreTokenizer { names: &["tekken"], stages: TEKKEN, whole_words: true, add_bos: true },
    named(&["deepseek-llm"], DEEPSEEK_LLM),
    named(&["deepseek-coder"], DEEPSEEK_CODER),
    named(&["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"], DEEPSEEK_V3),
    named(&["falcon"], FALCON),
    named(&["default"], DEFAULT),
];

/// For `tokenizer.ggml.model` = gemma4, whatever `tokenizer.ggml.pre` says: `[^\n]+
/// |\n+`. Merges run over
/// whole lines.
pub(super) const GEMMA4: PreTokenizer = PreTokenizer {
    names: &["gemma4", "granite-embed-multi-311m"],
    stages: &[Cut(&[run(LINE_FEED).rule()])],
    whole_words: false,
    add_bos: true,
};

const fn named(names: &'static [&'static str], stages: &'static [Stage]) -> PreTokenizer {
    PreTokenizer { names, stages, whole_words: false, add_bos: false }
}

impl PreTokenizer {
    const fn with_whole_words(self) -> PreTokenizer {
        PreTokenizer { whole_words: true, ..self }
    }

    /// The pre-tokenizer of that name.
    pub(super) fn find(name: &str) -> Option<&'static PreTokenizer> {
        PRE_TOKENIZERS.iter().find(|pre| pre.names.contains(&name))
    }
}

const BLANK: Set = chars(&[(' ', ' ')]);
const LINE_FEED: Set = chars(&[('\n', '\n')]);
const LINE_END: Set = chars(&[('\n', '\n'), ('\r', '\r')]);
const LINE_END_OR_SLASH: Set = chars(&[('\n', '\n'), ('\r', '\r'), ('/', '/')]);
const LETTERS: Set = Set::of(LETTER);
const NUMBERS: Set = Set::of(NUMBER);
const SPACES: Set = Set::of(SPACE);
/// `[^\s\p{L}\p{N}]`
const OTHER: Set = Set::of(SPACE | LETTER | NUMBER).negated();
/// `[^\r\n\p{L}\p{N}]`
const BEFORE_WORD: Set = Set::of(LETTER | NUMBER).and(&[('\n', '\n'), ('\r', '\r')]).negated();

const fn chars(ranges: &'static [(char, char)]) -> Set {
    Set::NONE.and(ranges)
}

/// `[^\r\n\p{L}\p{N}]?\p{L}+`
const WORD: Rule = run(LETTERS).maybe_after(BEFORE_WORD).rule();
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*`
const OTHERS_TO_LINE_END: Rule = run(OTHER).maybe_after(BLANK).then(LINE_END).rule();
/// `\p{N}`
const ONE_DIGIT: Rule = run(NUMBERS).times(1, 1).rule();
/// `\p{N}{1,3}`
const UP_TO_3_DIGITS: Rule = run(NUMBERS).times(1, 3).rule();
/// `[0-9][0-9][0-9]`
const ASCII_3_DIGITS: Rule = run(chars(&[('0', '9')])).times(3, 3).rule();

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*
/// |\s*[\r\n]+|\s+(?!\S)|\s+`
const LLAMA3: &[Stage] = &[Cut(&[
    ContractionAnyCase,
    WORD,
    UP_TO_3_DIGITS,
    OTHERS_TO_LINE_END,
    SpacesToLineEnd,
    Spaces,
])];

/// `\p{N}{1,3}`, then Llama 3's with `\p{N}+`
const MINICPM5: &[Stage] = &[
    Cut(&[UP_TO_3_DIGITS]),
    Cut(&[
        ContractionAnyCase,
        WORD,
        run(NUMBERS).rule(),
        OTHERS_TO_LINE_END,
        SpacesToLineEnd,
        Spaces,
    ]),
];

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*
/// |\s*[\r\n]+|\s+(?!\S)|\s+`
const QWEN2: &[Stage] = &[QWEN2_STAGE];
const QWEN2_STAGE: Stage =
    Cut(&[ContractionAnyCase, WORD, ONE_DIGIT, OTHERS_TO_LINE_END, SpacesToLineEnd, Spaces]);

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}
/// | ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const QWEN35: &[Stage] = &[Cut(&[
    ContractionAnyCase,
    run(Set::of(LETTER | MARK)).maybe_after(BEFORE_WORD).rule(),
    ONE_DIGIT,
    run(Set::of(SPACE | LETTER | MARK | NUMBER).negated()).maybe_after(BLANK).then(LINE_END).rule(),
    SpacesToLineEnd,
    Spaces,
])];

/// `[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const UFAKZEKA: &[Stage] = &[Cut(&[WORD, ONE_DIGIT, OTHERS_TO_LINE_END, SpacesToLineEnd, Spaces])];

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+
/// |\s*[\r\n]+|\s+(?!\S)|\s+`
const SEED_CODER: &[Stage] = &[Cut(&[
    ContractionAnyCase,
    WORD,
    ONE_DIGIT,
    run(OTHER).maybe_after(BLANK).rule(),
    SpacesToLineEnd,
    Spaces,
])];

/// `[^\n]+|[\n]+`, then Qwen 2's
const LAGUNA: &[Stage] = &[Cut(&[run(LINE_FEED).rule()]), QWEN2_STAGE];

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const GPT2: &[Stage] = &[GPT2_STAGE];
const GPT2_STAGE: Stage = Cut(&[
    Contraction,
    run(LETTERS).maybe_after(BLANK).rule(),
    run(NUMBERS).maybe_after(BLANK).rule(),
    run(OTHER).maybe_after(BLANK).rule(),
    Spaces,
]);

/// `\p{N}`, then GPT-2's
const DIGITS_GPT2: &[Stage] = &[Cut(&[ONE_DIGIT]), GPT2_STAGE];

///
/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+
/// (?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*
/// (?i:'s|'t|'re|'ve|'m|'ll|'d)?
/// |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const GPT4O: &[Stage] = &[Cut(&[
    CasedWord { lead: BEFORE_WORD, contraction: true },
    UP_TO_3_DIGITS,
    run(OTHER).maybe_after(BLANK).then(LINE_END_OR_SLASH).rule(),
    SpacesToLineEnd,
    Spaces,
])];

/// `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+
/// |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}
/// | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
const TEKKEN: &[Stage] = &[Cut(&[
    CasedWord { lead: BEFORE_WORD, contraction: false },
    ONE_DIGIT,
    run(OTHER).maybe_after(BLANK).then(LINE_END_OR_SLASH).rule(),
    SpacesToLineEnd,
    Spaces,
])];

/// `[\r\n]`, then `\s?LETTERS+` of `DEEPSEEK_LETTERS`, then `\s?[!-/:-~！-／：-～‘-‟　-。]+`, then
/// `\s+$`, then `[一-龥ࠀ-一가-퟿]+`, then `\p{N}+`
const DEEPSEEK_LLM: &[Stage] = &[
    Cut(&[run(LINE_END).times(1, 1).rule()]),
    Cut(&[run(chars(DEEPSEEK_LETTERS)).maybe_after(SPACES).rule()]),
    Cut(&[run(chars(&[
        ('!', '/'),
        (':', '~'),
        ('\u{2018}', '\u{201f}'),
        ('\u{3000}', '\u{3002}'),
        ('\u{ff01}', '\u{ff0f}'),
        ('\u{ff1a}', '\u{ff5e}'),
    ]))
    .maybe_after(SPACES)
    .rule()]),
    TrailingSpaces,
    Cut(&[DEEPSEEK_CJK]),
    Cut(&[run(NUMBERS).rule()]),
];

/// `[\r\n]`, then `\s?\p{L}+`, then `\s?\p{P}+`, then `[一-龥ࠀ-一가-퟿]+`, then `\p{N}`
const DEEPSEEK_CODER: &[Stage] = &[
    Cut(&[run(LINE_END).times(1, 1).rule()]),
    Cut(&[run(LETTERS).maybe_after(SPACES).rule()]),
    Cut(&[run(Set::of(PUNCT)).maybe_after(SPACES).rule()]),
    Cut(&[DEEPSEEK_CJK]),
    Cut(&[ONE_DIGIT]),
];

/// `[一-龥ࠀ-一가-퟿]+`
const DEEPSEEK_CJK: Rule = run(chars(&[('\u{800}', '\u{9fa5}'), ('\u{ac00}', '\u{d7ff}')])).rule();

/// `\p{N}{1,3}`, then `[一-龥぀-ゟ゠-ヿ]+`, then
/// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
/// | ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+``
const DEEPSEEK_V3: &[Stage] = &[
    Cut(&[UP_TO_3_DIGITS]),
    Cut(&[run(chars(&[('\u{3040}', '\u{30ff}'), ('\u{4e00}', '\u{9fa5}')])).rule()]),
    Cut(&[
        run(chars(&[('A', 'Z'), ('a', 'z')])).after(ASCII_PUNCT).rule(),
        run(Set::of(LETTER | MARK))
            .maybe_after(
                Set::of(LETTER | PUNCT | SYMBOL).and(&[('\n', '\n'), ('\r', '\r')]).negated(),
            )
            .rule(),
        run(Set::of(PUNCT | SYMBOL)).maybe_after(BLANK).then(LINE_END).rule(),
        SpacesToLineEnd,
        Spaces,
    ]),
];
const ASCII_PUNCT: Set = chars(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]);

/// ``[\p{P}\$\+<=>\^~\|`]+``, then GPT-2's, then `[0-9][0-9][0-9]`
const FALCON: &[Stage] = &[
    Cut(&[run(Set::of(PUNCT).and(&[
        ('$', '$'),
        ('+', '+'),
        ('<', '>'),
        ('^', '^'),
        ('`', '`'),
        ('|', '|'),
        ('~', '~'),
    ]))
    .rule()]),
    GPT2_STAGE,
    Cut(&[ASCII_3_DIGITS]),
];

/// `[\p{P}\$\+<=>\^~\|]+`, then GPT-2's, then `\p{N}+`, then `[0-9][0-9][0-9]`
const DEFAULT: &[Stage] = &[
    Cut(&[run(Set::of(PUNCT).and(&[
        ('$', '$'),
        ('+', '+'),
        ('<', '>'),
        ('^', '^'),
        ('|', '|'),
        ('~', '~'),
    ]))
    .rule()]),
    GPT2_STAGE,
    Cut(&[run(NUMBERS).rule()]),
    Cut(&[ASCII_3_DIGITS]),
];

/// The letters of alphabets with two cases, as DeepSeek lists them.
#[rustfmt::skip]
const DEEPSEEK_LETTERS: &[(char, char)] = &[
    ('A', 'Z'), ('a', 'z'), ('\u{b5}', '\u{b5}'), ('\u{c0}', '\u{d6}'), ('\u{d8}', '\u{f6}'),
    ('\u{f8}', '\u{1ba}'), ('\u{1bc}', '\u{1bf}'), ('\u{1c4}', '\u{293}'), ('\u{295}', '\u{2af}'),
    ('\u{370}', '\u{373}'), ('\u{376}', '\u{376}'), ('\u{377}', '\u{377}'), ('\u{37b}', '\u{37d}'),
    ('\u{37f}', '\u{37f}'), ('\u{386}', '\u{386}'), ('\u{388}', '\u{38a}'), ('\u{38c}', '\u{38c}'),
    ('\u{38e}', '\u{3a1}'), ('\u{3a3}', '\u{3f5}'), ('\u{3f7}', '\u{481}'), ('\u{48a}', '\u{52f}'),
    ('\u{531}', '\u{556}'), ('\u{10a0}', '\u{10c5}'), ('\u{13a0}', '\u{13f5}'),
    ('\u{13f8}', '\u{13fd}'), ('\u{1c90}', '\u{1cba}'), ('\u{1cbd}', '\u{1cbf}'),
    ('\u{1d00}', '\u{1d2b}'), ('\u{1d6b}', '\u{1d77}'), ('\u{1d79}', '\u{1d9a}'),
    ('\u{1e00}', '\u{1f15}'), ('\u{1f18}', '\u{1f1d}'), ('\u{1f20}', '\u{1f45}'),
    ('\u{1f48}', '\u{1f4d}'), ('\u{1f50}', '\u{1f57}'), ('\u{1f59}', '\u{1f59}'),
    ('\u{1f5b}', '\u{1f5b}'), ('\u{1f5d}', '\u{1f5d}'), ('\u{1f5f}', '\u{1f7d}'),
    ('\u{1f80}', '\u{1fb4}'), ('\u{1fb6}', '\u{1fbc}'), ('\u{1fbe}', '\u{1fbe}'),
    ('\u{1fc2}', '\u{1fc4}'), ('\u{1fc6}', '\u{1fcc}'), ('\u{1fd0}', '\u{1fd3}'),
    ('\u{1fd6}', '\u{1fdb}'), ('\u{1fe0}', '\u{1fec}'), ('\u{1ff2}', '\u{1ff4}'),
    ('\u{1ff6}', '\u{1ffc}'), ('\u{2102}', '\u{2102}'), ('\u{2107}', '\u{2107}'),
    ('\u{210a}', '\u{2113}'), ('\u{2115}', '\u{2115}'), ('\u{2119}', '\u{211d}'),
    ('\u{2124}', '\u{2124}'), ('\u{2126}', '\u{2126}'), ('\u{2128}', '\u{2128}'),
    ('\u{212a}', '\u{212d}'), ('\u{212f}', '\u{2134}'), ('\u{2139}', '\u{2139}'),
    ('\u{213c}', '\u{213f}'), ('\u{2145}', '\u{2149}'), ('\u{214e}', '\u{214e}'),
    ('\u{2183}', '\u{2183}'), ('\u{2184}', '\u{2184}'), ('\u{2c00}', '\u{2c7b}'),
    ('\u{2c7e}', '\u{2ce4}'), ('\u{2ceb}', '\u{2cee}'), ('\u{2cf2}', '\u{2cf2}'),
    ('\u{2cf3}', '\u{2cf3}'), ('\u{a640}', '\u{a66d}'), ('\u{a680}', '\u{a69b}'),
    ('\u{a722}', '\u{a76f}'), ('\u{a771}', '\u{a787}'), ('\u{a78b}', '\u{a78e}'),
    ('\u{ab70}', '\u{abbf}'), ('\u{fb00}', '\u{fb06}'), ('\u{fb13}', '\u{fb17}'),
    ('\u{ff21}', '\u{ff3a}'), ('\u{ff41}', '\u{ff5a}'), ('\u{10400}', '\u{1044f}'),
    ('\u{104b0}', '\u{104d3}'), ('\u{104d8}', '\u{104fb}'), ('\u{10c80}', '\u{10cb2}'),
    ('\u{10cc0}', '\u{10cf2}'), ('\u{118a0}', '\u{118df}'), ('\u{1e900}', '\u{1e943}'),
];

#[cfg(test)]
mod tests {
    use super::super::classes::Classes;
    use super::super::split::split;
    use super::*;
    use fancy_regex::Regex;
    use proptest::prelude::*;

    const GPT2_TEXT: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    const QWEN2_TEXT: &str = concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    );
    const DEEPSEEK_CJK_TEXT: &str = r"[一-龥ࠀ-一가-퟿]+";

    /// The original expressions of one name of each pattern.
    const ORIGINALS: &[(&str, &[&str])] = &[
        (
            "llama-bpe",
            &[concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
        ),
        (
            "minicpm5",
            &[
                r"\p{N}{1,3}",
                concat!(
                    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+",
                    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
            ],
        ),
        ("gpt-2", &[GPT2_TEXT]),
        ("starcoder", &[r"\p{N}", GPT2_TEXT]),
        ("qwen2", &[QWEN2_TEXT]),
        (
            "bailingmoe",
            &[concat!(
                r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}",
                r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
            )],
        ),
        (
            "qwen35",
            &[concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}",
                r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
        ),
        (
            "ufakzeka",
            &[concat!(
                r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+",
                r"|\s+(?!\S)|\s+"
            )],
        ),
        (
            "seed-coder",
            &[concat!(
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}",
                r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
        ),
        ("laguna", &[r"[^\n]+|[\n]+", QWEN2_TEXT]),
        (
            "gpt-4o",
            &[concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
        ),
        (
            "tekken",
            &[concat!(
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
                r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
                r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            )],
        ),
        ("deepseek-coder", &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK_TEXT, r"\p{N}"]),
        (
            "deepseek-v3",
            &[
                r"\p{N}{1,3}",
                r"[一-龥぀-ゟ゠-ヿ]+",
                concat!(
                    r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##,
                    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*",
                    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
                ),
            ],
        ),
        ("falcon", &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2_TEXT, r"[0-9][0-9][0-9]"]),
        ("default", &[r"[\p{P}\$\+<=>\^~\|]+", GPT2_TEXT, r"\p{N}+", r"[0-9][0-9][0-9]"]),
        // The second is a long list of letters in the original; those in use below have to do here.
        (
            "deepseek-llm",
            &[
                r"[\r\n]",
                r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯ]+",
                r"\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+",
                r"\s+$",
                DEEPSEEK_CJK_TEXT,
                r"\p{N}+",
            ],
        ),
    ];

    /// What each expression matches and what it leaves between are pieces for the next one.
    fn cut<'a>(expressions: &[Regex], text: &'a str) -> Vec<&'a str> {
        let mut pieces = vec![text];
        for expression in expressions {
            let mut finer = Vec::new();
            for piece in pieces {
                let mut end = 0;
                for found in expression.find_iter(piece) {
                    let found = found.unwrap();
                    finer.extend([&piece[end..found.start()], found.as_str()]);
                    end = found.end();
                }
                finer.push(&piece[end..]);
            }
            pieces = finer;
        }
        pieces.into_iter().filter(|piece| !piece.is_empty()).collect()
    }

    #[test]
    fn rules_cut_as_the_original_expressions() {
        let classes = Classes::read();
        let letters =
            "aAbZsSltLdrevmé Ébß中ʰアǅЖ\u{301}\u{903}0123½Ⅷ'''.!$<=/\u{2019}「。😀\u{200d}";
        let spaces = "     \n\n\r\t\u{a0}\u{3000}\u{85}";
        let all: Vec<char> = letters.chars().chain(spaces.chars()).collect();
        let text = prop::collection::vec(prop::sample::select(all), 0..24);
        for (name, expressions) in ORIGINALS {
            let stages = PreTokenizer::find(name).unwrap().stages;
            let expressions: Vec<Regex> =
                expressions.iter().map(|text| Regex::new(text).unwrap()).collect();
            let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
                cases: 3000,
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            let result = runner.run(&text, |text| {
                let text: String = text.into_iter().collect();
                let mut words = Vec::new();
                split(&classes, &text, stages, &mut |word| words.push(word));
                prop_assert_eq!(words, cut(&expressions, &text), "{}", name);
                Ok(())
            });
            result.unwrap();
        }
    }

    #[test]
    fn every_pattern_is_compared_and_every_name_stands_once() {
        let compared: Vec<&str> = ORIGINALS.iter().map(|(name, _)| *name).collect();
        for pre in PRE_TOKENIZERS {
            let same = PRE_TOKENIZERS.iter().filter(|other| std::ptr::eq(other.stages, pre.stages));
            let mut names = same.flat_map(|other| other.names);
            assert!(names.any(|name| compared.contains(name)), "{:?}", pre.names);
        }
        let names: Vec<&str> = PRE_TOKENIZERS.iter().flat_map(|pre| pre.names).copied().collect();
        let distinct: std::collections::HashSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
    }
}
