//! Cuts text into words by rules: what the regular expressions of tokenizers do, without
//! backtracking.
//!
//! Each rule is a piece of such an expression and takes time in proportion to what it reads, so
//! that no text is slow. The rules of each tokenizer stand in `pre.rs`; `tests/tokenizer_split.rs`
//! compares them with the original expressions.

use super::classes::{CASELESS, Classes, LOWER, MARK, SPACE, Set, UPPER};

/// One pass over the text. A pass cuts the pieces that the pass before it left.
pub(super) enum Stage {
    /// At each place the first rule that matches makes a piece; what lies between matches is one
    /// too.
    Cut(&'static [Rule]),
    /// `\s+$`: the spaces at the end are a piece.
    TrailingSpaces,
}

/// A piece of a regular expression.
pub(super) enum Rule {
    /// `'s|'t|'re|'ve|'m|'ll|'d`, small letters only.
    Contraction,
    /// The same in small and capital letters.
    ContractionAnyCase,
    /// `lead of{least,most} tail*`.
    Run(Run),
    /// `lead?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` or else
    /// `lead?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`: a word that ends before
    /// the next capital; then a contraction if the flag says so.
    CasedWord { lead: Set, contraction: bool },
    /// `\s*[\r\n]+`: spaces up to the last line end among them.
    SpacesToLineEnd,
    /// `\s+(?!\S)|\s+`: spaces, but the last one is left to the word that follows.
    Spaces,
}

/// `lead of{least,most} tail*`.
#[derive(Clone, Copy)]
pub(super) struct Run {
    lead: Lead,
    of: Set,
    least: usize,
    most: usize,
    tail: Set,
}

#[derive(Clone, Copy)]
enum Lead {
    None,
    Optional(Set),
    Required(Set),
}

/// One or more of a set.
pub(super) const fn run(of: Set) -> Run {
    Run { lead: Lead::None, of, least: 1, most: usize::MAX, tail: Set::NONE }
}

impl Run {
    /// One character of `set` may come before.
    pub(super) const fn maybe_after(self, set: Set) -> Run {
        Run { lead: Lead::Optional(set), ..self }
    }

    /// One character of `set` must come before.
    pub(super) const fn after(self, set: Set) -> Run {
        Run { lead: Lead::Required(set), ..self }
    }

    /// How many at least and at most.
    pub(super) const fn times(self, least: usize, most: usize) -> Run {
        Run { least, most, ..self }
    }

    /// Any number of `set` may follow.
    pub(super) const fn then(self, set: Set) -> Run {
        Run { tail: set, ..self }
    }

    /// The rule.
    pub(super) const fn rule(self) -> Rule {
        Rule::Run(self)
    }

    fn matches(&self, classes: &Classes, text: &str) -> Option<usize> {
        let first_of = |set: &Set| first_of(classes, text, set);
        match self.lead {
            Lead::None => self.body(classes, text, 0),
            Lead::Required(set) => self.body(classes, text, first_of(&set)?),
            Lead::Optional(set) => first_of(&set)
                .and_then(|lead| self.body(classes, text, lead))
                .or_else(|| self.body(classes, text, 0)),
        }
    }

    fn body(&self, classes: &Classes, text: &str, start: usize) -> Option<usize> {
        let mut end = start;
        let mut found = 0;
        for c in text[start..].chars().take(self.most).take_while(|&c| self.of.has(classes, c)) {
            end += c.len_utf8();
            found += 1;
        }
        (found >= self.least).then(|| end + prefix_of(&text[end..], |c| self.tail.has(classes, c)))
    }
}

impl Rule {
    /// Bytes from the start of `text` that the rule matches; never 0.
    fn matches(&self, classes: &Classes, text: &str) -> Option<usize> {
        match self {
            Rule::Contraction => contraction(text, u8::eq),
            Rule::ContractionAnyCase => contraction(text, u8::eq_ignore_ascii_case),
            Rule::Run(run) => run.matches(classes, text),
            Rule::CasedWord { lead, contraction } => cased_word(classes, text, lead, *contraction),
            Rule::SpacesToLineEnd => spaces_to_line_end(classes, text),
            Rule::Spaces => spaces(classes, text),
        }
    }
}

/// Calls `word` with each piece of `text`, in order and without gaps.
pub(super) fn split<'a>(
    classes: &Classes,
    text: &'a str,
    stages: &[Stage],
    word: &mut dyn FnMut(&'a str),
) {
    match stages.split_first() {
        None if text.is_empty() => {}
        None => word(text),
        Some((Stage::TrailingSpaces, later)) => {
            let (body, spaces) = text.split_at(text.trim_end().len());
            split(classes, body, later, word);
            split(classes, spaces, later, word);
        }
        Some((Stage::Cut(rules), later)) => {
            let (mut piece_start, mut at) = (0, 0);
            while let Some(c) = text[at..].chars().next() {
                match rules.iter().find_map(|rule| rule.matches(classes, &text[at..])) {
                    None => at += c.len_utf8(),
                    Some(len) => {
                        split(classes, &text[piece_start..at], later, word);
                        split(classes, &text[at..at + len], later, word);
                        at += len;
                        piece_start = at;
                    }
                }
            }
            split(classes, &text[piece_start..], later, word);
        }
    }
}

fn first_of(classes: &Classes, text: &str, set: &Set) -> Option<usize> {
    text.chars().next().filter(|&c| set.has(classes, c)).map(char::len_utf8)
}

/// Bytes of the longest prefix whose characters all satisfy `inside`.
fn prefix_of(text: &str, inside: impl Fn(char) -> bool) -> usize {
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

fn contraction(text: &str, same: impl Fn(&u8, &u8) -> bool) -> Option<usize> {
    let rest = text.as_bytes().strip_prefix(b"'")?;
    let endings: [&[u8]; 7] = [b"s", b"t", b"re", b"ve", b"m", b"ll", b"d"];
    let fits = |ending: &&&[u8]| {
        rest.len() >= ending.len() && ending.iter().zip(rest).all(|(a, b)| same(a, b))
    };
    endings.iter().find(fits).map(|ending| 1 + ending.len())
}

fn cased_word(classes: &Classes, text: &str, lead: &Set, with_contraction: bool) -> Option<usize> {
    const HEAD: u16 = UPPER | CASELESS | MARK;
    const TAIL: u16 = LOWER | CASELESS | MARK;
    // Head as far as it goes, then tail; if no tail follows, the head gives back characters until
    // its last one is a tail.
    let ends_in_tail = |start: usize| {
        let head_end = start + prefix_of(&text[start..], |c| classes.of(c) & HEAD != 0);
        let tail = prefix_of(&text[head_end..], |c| classes.of(c) & TAIL != 0);
        if tail > 0 {
            return Some(head_end + tail);
        }
        let (at, c) =
            text[start..head_end].char_indices().rfind(|&(_, c)| classes.of(c) & TAIL != 0)?;
        Some(start + at + c.len_utf8())
    };
    let all_head = |start: usize| {
        let head = prefix_of(&text[start..], |c| classes.of(c) & HEAD != 0);
        (head > 0).then_some(start + head)
    };
    let after_lead = first_of(classes, text, lead);
    let end = after_lead
        .and_then(ends_in_tail)
        .or_else(|| ends_in_tail(0))
        .or_else(|| after_lead.and_then(all_head))
        .or_else(|| all_head(0))?;
    let more = if with_contraction {
        contraction(&text[end..], u8::eq_ignore_ascii_case).unwrap_or(0)
    } else {
        0
    };
    Some(end + more)
}

/// Bytes of the spaces at the start.
fn space_run(classes: &Classes, text: &str) -> usize {
    prefix_of(text, |c| classes.of(c) & SPACE != 0)
}

fn spaces_to_line_end(classes: &Classes, text: &str) -> Option<usize> {
    let run = &text[..space_run(classes, text)];
    run.rfind(['\r', '\n']).map(|last| last + 1)
}

fn spaces(classes: &Classes, text: &str) -> Option<usize> {
    let run = space_run(classes, text);
    let last = text[..run].chars().next_back()?;
    let leave_last = run < text.len() && run > last.len_utf8();
    Some(if leave_last { run - last.len_utf8() } else { run })
}
