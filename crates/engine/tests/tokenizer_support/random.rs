//! Mean random texts, the same for the same seed: mixed scripts, marks without letters, runs of
//! spaces and line ends, digits, emoji, halves of contractions, and the names of special tokens.

/// A small generator (SplitMix64); the quality suffices for tests.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const WORDS: &[&str] = &[
    "the",
    "Hello",
    "WORLD",
    "iPhone",
    "don't",
    "I'll",
    "we'Re",
    "x'VE",
    "'s",
    "'",
    "''",
    "'l",
    "'r",
    "naïve",
    "straße",
    "ΑΒΓ",
    "привет",
    "МОСКВА",
    "中文",
    "日本語",
    "カタカナ",
    "한국어",
    "ไทย",
    "हिन्दी",
    "עברית",
    "العربية",
    "Việt",
    "ǅ",
    "ʰ",
    "ﬁ",
    "Ⅷ",
    "½",
    "२३",
    "e\u{301}",
    "\u{301}",
    "\u{20dd}",
    "\u{200d}",
    "👩\u{200d}💻",
    "🦙",
    "🇫🇷",
    "👍🏽",
    "(",
    ")",
    "!",
    "?!",
    "...",
    "--",
    "==",
    "=>",
    "/*",
    "//",
    "\\",
    "_",
    "$",
    "€",
    "^",
    "`",
    "|",
    "~",
    "#",
    "@",
    "<",
    ">",
    "[",
    "{",
    "…",
    "“",
    "。",
    "、",
    "▁",
    "Ġ",
    "0",
    "12",
    "345",
    "6789",
    "1234567",
    "3.14",
    "<s>",
    "</s>",
    "<unk>",
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<0x0A>",
    "<|im",
    "[CLS]",
    "##ing",
    "<fim_prefix>",
    "\u{7f}",
    "\0",
    "\u{ad}",
    "\u{feff}",
    "http://example.com/c?d=1&e",
    "fn main() {",
    "Llama",
    "tokenization",
    "ing",
    "tion",
];

const SPACES: &[&str] = &[
    " ", " ", " ", "", "", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n", "\n ", "\t\t", "\r",
    "\u{a0}", "\u{3000}", "\u{2003}", "       ", "\n\n\n",
];

/// A text of a few pieces; now and then a long one.
pub(crate) fn text(random: &mut Random) -> String {
    let pieces = if random.below(50) == 0 { 60 } else { 1 + random.below(12) };
    let mut text = String::new();
    for _ in 0..pieces {
        match random.below(16) {
            0 => text.extend(std::iter::repeat_n(random.one(WORDS), 1 + random.below(5))),
            1 => {
                let letters = (0..1 + random.below(8)).map(|_| letter(random));
                let letters: String = letters.collect();
                text.push_str(&letters);
            }
            2 => {
                let digits = 1 + random.below(9);
                text.extend((0..digits).map(|_| char::from(b'0' + random.below(10) as u8)));
            }
            3 => text.push(any_char(random)),
            _ => text.push_str(random.one(WORDS)),
        }
        text.push_str(random.one(SPACES));
    }
    text
}

fn letter(random: &mut Random) -> char {
    let starts = ['a', 'A', 'a', 'α', 'А', 'あ', '一', '가', 'ا', 'अ'];
    let start = starts[random.below(starts.len())];
    char::from_u32(start as u32 + random.below(24) as u32).unwrap_or('a')
}

/// A character of the planes in use, from blocks that every Unicode version since 9 has in full.
fn any_char(random: &mut Random) -> char {
    let blocks = [
        (0x0u32, 0x180u32),
        (0x180, 0x370),
        (0x400, 0x500),
        (0x5d0, 0x5eb),
        (0x905, 0x940),
        (0x1e00, 0x1f00),
        (0x2000, 0x2065),
        (0x2100, 0x2180),
        (0x2200, 0x2300),
        (0x3041, 0x3097),
        (0x4e00, 0x9fa6),
        (0xac00, 0xd7a4),
        (0xf900, 0xfa6e),
        (0xff01, 0xff5f),
        (0x1_d400, 0x1_d455),
        (0x1_f300, 0x1_f380),
        (0x1_f600, 0x1_f640),
        (0x2_0000, 0x2_0100),
        (0xe000, 0xe010),
    ];
    let (start, end) = blocks[random.below(blocks.len())];
    char::from_u32(start + random.below((end - start) as usize) as u32)
        // The long s folds to `s` in the originals' case-insensitive contractions, not in ours.
        .filter(|&c| c != 'ſ')
        .unwrap_or('a')
}
