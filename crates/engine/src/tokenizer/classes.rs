//! Unicode classes of characters, and sets of characters built from them.
//!
//! The classes are those of regular expressions: `\p{Lu}`, `\p{M}`, `\s` and so on. Each tokenizer
//! reads them from the tables of `regex-syntax`, which the program carries for its grammars anyway,
//! into a two-stage table of about 80 kB. Which sets a tokenizer cuts at stands in `pre.rs`.

/// `\p{Lu}` and `\p{Lt}`.
pub(super) const UPPER: u16 = 1;
/// `\p{Ll}`.
pub(super) const LOWER: u16 = 1 << 1;
/// `\p{Lm}` and `\p{Lo}`: letters without case.
pub(super) const CASELESS: u16 = 1 << 2;
/// `\p{M}`: marks that combine with the letter before them.
pub(super) const MARK: u16 = 1 << 3;
/// `\p{N}`.
pub(super) const NUMBER: u16 = 1 << 4;
/// `\p{P}`.
pub(super) const PUNCT: u16 = 1 << 5;
/// `\p{S}`.
pub(super) const SYMBOL: u16 = 1 << 6;
/// `\s`.
pub(super) const SPACE: u16 = 1 << 7;
/// `\p{Mn}`, which are marks too: those that take no room.
pub(super) const NONSPACING: u16 = 1 << 8;
/// `\p{L}`.
pub(super) const LETTER: u16 = UPPER | LOWER | CASELESS;

const CLASSES: [(&str, u16); 9] = [
    (r"[\p{Lu}\p{Lt}]", UPPER),
    (r"\p{Ll}", LOWER),
    (r"[\p{Lm}\p{Lo}]", CASELESS),
    (r"\p{M}", MARK),
    (r"\p{N}", NUMBER),
    (r"\p{P}", PUNCT),
    (r"\p{S}", SYMBOL),
    (r"\s", SPACE),
    (r"\p{Mn}", NONSPACING),
];

const PAGE: usize = 128;
const PAGES: usize = (char::MAX as usize + 1) / PAGE;

/// The classes of all characters.
pub(super) struct Classes {
    /// For each page of code points, the number of its class page.
    pages: Vec<u16>,
    classes: Vec<[u16; PAGE]>,
}

impl Classes {
    /// Reads the table; it takes a few milliseconds.
    pub(super) fn read() -> Classes {
        let mut all = vec![0u16; PAGES * PAGE];
        for (pattern, class) in CLASSES {
            for (first, last) in ranges(pattern) {
                all[first as usize..=last as usize].iter_mut().for_each(|c| *c |= class);
            }
        }
        let mut table = Classes { pages: Vec::with_capacity(PAGES), classes: Vec::new() };
        let mut seen = std::collections::HashMap::new();
        for page in all.as_chunks::<PAGE>().0 {
            let number = *seen.entry(*page).or_insert_with(|| {
                table.classes.push(*page);
                (table.classes.len() - 1) as u16
            });
            table.pages.push(number);
        }
        table
    }

    /// The classes of `c`: an OR of the constants above; 0 for controls and what is private or
    /// unassigned.
    pub(super) fn of(&self, c: char) -> u16 {
        self.classes[usize::from(self.pages[c as usize / PAGE])][c as usize % PAGE]
    }
}

/// The ranges of a pattern that is one class.
fn ranges(pattern: &str) -> Vec<(char, char)> {
    let parsed = regex_syntax::parse(pattern).expect("a constant pattern");
    match parsed.kind() {
        regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
            class.iter().map(|range| (range.start(), range.end())).collect()
        }
        other => unreachable!("{pattern} is one class, not {other:?}"),
    }
}

/// A set of characters: classes and ranges, or all but these.
#[derive(Clone, Copy)]
pub(super) struct Set {
    classes: u16,
    /// Sorted, apart from each other.
    ranges: &'static [(char, char)],
    negated: bool,
}

impl Set {
    /// No character.
    pub(super) const NONE: Set = Set::of(0);

    /// The characters of `classes`.
    pub(super) const fn of(classes: u16) -> Set {
        Set { classes, ranges: &[], negated: false }
    }

    /// Adds `ranges`, which are sorted and inclusive.
    pub(super) const fn and(self, ranges: &'static [(char, char)]) -> Set {
        Set { ranges, ..self }
    }

    /// All other characters.
    pub(super) const fn negated(self) -> Set {
        Set { negated: !self.negated, ..self }
    }

    /// Whether `c` is in the set.
    pub(super) fn has(&self, classes: &Classes, c: char) -> bool {
        let inside = classes.of(c) & self.classes != 0 || {
            let after = self.ranges.partition_point(|&(first, _)| first <= c);
            after > 0 && c <= self.ranges[after - 1].1
        };
        inside != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_some_characters() {
        let cases = [
            ('A', UPPER),
            ('ǅ', UPPER),
            ('ß', LOWER),
            ('中', CASELESS),
            ('ʰ', CASELESS),
            ('\u{301}', MARK | NONSPACING),
            ('\u{903}', MARK),
            ('½', NUMBER),
            ('_', PUNCT),
            ('€', SYMBOL),
            ('\u{3000}', SPACE),
            ('\u{85}', SPACE),
            ('\0', 0),
            ('\u{10ffff}', 0),
        ];
        let classes = Classes::read();
        for (c, class) in cases {
            assert_eq!(classes.of(c), class, "{c:?}");
        }
    }

    #[test]
    fn spaces_are_those_of_the_standard_library() {
        let classes = Classes::read();
        for c in '\0'..=char::MAX {
            assert_eq!(classes.of(c) & SPACE != 0, c.is_whitespace(), "{c:?}");
        }
    }

    #[test]
    fn a_set_has_its_ranges_and_a_negated_one_the_rest() {
        let set = Set::of(NUMBER).and(&[('a', 'c'), ('x', 'x')]);
        let classes = Classes::read();
        let has: String = ('\0'..='~').filter(|&c| set.has(&classes, c)).collect();
        assert_eq!(has, "0123456789abcx");
        assert!(('\0'..='~').all(|c| set.negated().has(&classes, c) != set.has(&classes, c)));
    }
}
