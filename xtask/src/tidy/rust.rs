//! A small scanner for Rust source: what is code, what is a string, what is a test, where functions
//! end.
//!
//! It knows comments, every kind of string and lifetimes, and no grammar beyond braces: enough for
//! the rules, and fast enough to run on the whole tree in every test run.

use std::ops::Range;

/// Source as the rules need it. Lines count from 0 here.
pub(crate) struct Rust {
    /// The text with comments and the insides of strings blanked, line by line.
    pub(crate) code: Vec<String>,
    /// String literals: line of the opening quote, raw contents.
    pub(crate) strings: Vec<(usize, String)>,
    /// Whether a line belongs to test code.
    pub(crate) test: Vec<bool>,
    /// Functions with a body.
    pub(crate) functions: Vec<Function>,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// From the line of `fn` to the line of its closing brace.
    pub(crate) lines: Range<usize>,
}

impl Rust {
    /// Scans a file; `all_tests` marks every line as test code.
    pub(crate) fn scan(text: &str, all_tests: bool) -> Self {
        let (masked, strings) = mask(text);
        let mut test = vec![all_tests; text.lines().count().max(1)];
        for lines in test_items(&masked) {
            for line in lines {
                if let Some(mark) = test.get_mut(line) {
                    *mark = true;
                }
            }
        }
        let functions = functions(&masked);
        Self { code: masked.lines().map(str::to_owned).collect(), strings, test, functions }
    }

    /// Code lines with their index, without test code.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(index, _)| !self.is_test(*index))
    }

    /// Code lines with their index.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(index, line)| (index, line.as_str()))
    }

    /// Names of modules in other files that are compiled for tests only.
    pub(crate) fn test_modules(&self) -> impl Iterator<Item = &str> {
        let pairs = self.code.windows(2).filter(|pair| pair[0].trim() == "#[cfg(test)]");
        pairs.filter_map(|pair| pair[1].trim().strip_prefix("mod ")?.strip_suffix(';'))
    }

    /// Marks the whole file as test code.
    pub(crate) fn mark_as_test(&mut self) {
        self.test.fill(true);
    }

    /// Whether this line is test code.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.test.get(line).copied().unwrap_or(false)
    }
}

/// Words of a code line: identifiers, keywords and numbers.
pub(crate) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Blanks comments and string contents, keeping every line break; returns the strings apart.
fn mask(text: &str) -> (String, Vec<(usize, String)>) {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let (mut at, mut line) = (0, 0);
    while at < chars.len() {
        let rest = &chars[at..];
        let (length, string) = token(rest, out.chars().next_back());
        match string {
            Some(inside) => {
                strings.push((line, rest[inside.clone()].iter().collect()));
                out.extend(rest[..inside.start].iter());
                blank(&rest[inside.clone()], &mut out);
                out.extend(rest[inside.end..length].iter());
            }
            None if length > 1 => blank(&rest[..length], &mut out),
            None => out.push(rest[0]),
        }
        line += rest[..length].iter().filter(|&&c| c == '\n').count();
        at += length;
    }
    (out, strings)
}

fn blank(chars: &[char], out: &mut String) {
    out.extend(chars.iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
}

/// Length of the token at the start, and where the inside of a string lies in it.
/// Comments and character literals are tokens longer than 1 without a string.
fn token(rest: &[char], before: Option<char>) -> (usize, Option<Range<usize>>) {
    let inside_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match rest {
        ['/', '/', ..] => (find(rest, 2, &['\n']).unwrap_or(rest.len()), None),
        ['/', '*', ..] => (block_comment(rest), None),
        ['"', ..] => quoted(rest, 1),
        ['b' | 'c', '"', ..] if !inside_word => quoted(rest, 2),
        ['r', '"' | '#', ..] if !inside_word => raw(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !inside_word => raw(rest, 2),
        ['\'', '\\', ..] => (find(rest, 3, &['\'']).map_or(1, |end| end + 1), None),
        ['\'', _, '\'', ..] => (3, None),
        _ => (1, None),
    }
}

fn find(rest: &[char], from: usize, wanted: &[char]) -> Option<usize> {
    let tail = rest.get(from..)?;
    tail.windows(wanted.len()).position(|window| window == wanted).map(|at| from + at)
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[char], start: usize) -> (usize, Option<Range<usize>>) {
    let mut at = start;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return (at + 1, Some(start..at)),
            _ => at += 1,
        }
    }
    (rest.len(), None)
}

/// `r"..."` and `r#"..."#`; `r#ident` is a word and passes as its first letter.
fn raw(rest: &[char], prefix: usize) -> (usize, Option<Range<usize>>) {
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    let start = prefix + hashes + 1;
    if rest.get(start - 1) != Some(&'"') {
        return (1, None);
    }
    let mut close = vec!['"'];
    close.resize(1 + hashes, '#');
    match find(rest, start, &close) {
        Some(end) => (end + close.len(), Some(start..end)),
        None => (rest.len(), None),
    }
}

/// Lines of every item behind `#[cfg(test)]`.
fn test_items(masked: &str) -> Vec<Range<usize>> {
    let starts = masked.match_indices("#[cfg(test)]").map(|(at, _)| at);
    starts.map(|at| line_of(masked, at)..body_end(masked, at + 12).1 + 1).collect()
}

fn functions(masked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in masked.match_indices("fn ") {
        if masked[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(name) = words(&masked[at + 3..]).next() else { continue };
        let follows = masked[at + 3..].trim_start().starts_with(name);
        let (has_body, end) = body_end(masked, at);
        if follows && has_body {
            let lines = line_of(masked, at)..end + 1;
            found.push(Function { name: name.to_owned(), lines });
        }
    }
    found
}

/// The line where the item at `from` ends: its closing brace, or a `;` where it has no body.
fn body_end(masked: &str, from: usize) -> (bool, usize) {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (offset, c) in masked[from..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            ';' if braces == 0 && others == 0 => return (false, line_of(masked, from + offset)),
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return (true, line_of(masked, from + offset));
                }
            }
            _ => {}
        }
    }
    (false, line_of(masked, masked.len()))
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r####"//! head { unsafe
fn outer<'a>(x: &'a str) -> [u8; 2] {
    let s = "in \" side"; // note
    let r = r#"raw "x" "#; let c = '{'; let d = '\'';
    /* nested /* comment */ fn no() {} */
    fn inner() {}
    [0; 2]
}
trait T { fn declared(&self); }
#[cfg(test)]
mod tests {
    fn t() {}
}
fn last() {}
"####;

    #[test]
    fn strings_and_comments_are_blanked() {
        let rust = Rust::scan(SOURCE, false);
        let strings: Vec<&str> = rust.strings.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(strings, [r#"in \" side"#, "raw \"x\" "]);
        assert_eq!(rust.strings[1].0, 3);
        assert!(rust.code.iter().all(|line| !line.contains("note") && !line.contains("nested")));
        assert_eq!(rust.code[0].trim(), "");
    }

    #[test]
    fn functions_have_their_lines_and_tests_are_marked() {
        let rust = Rust::scan(SOURCE, false);
        let found: Vec<_> =
            rust.functions.iter().map(|f| (f.name.as_str(), f.lines.clone())).collect();
        assert_eq!(found, [("outer", 1..8), ("inner", 5..6), ("t", 11..12), ("last", 13..14)]);
        let marked: Vec<usize> = (0..14).filter(|&line| rust.is_test(line)).collect();
        assert_eq!(marked, [9, 10, 11, 12]);
    }
}
