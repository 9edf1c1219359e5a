//! Bounds on the text of a Lark grammar or a regular expression, before a recursive parser sees it.

use super::GrammarError;

/// Deepest nesting of brackets.
const MAX_NESTING: usize = 100;

/// Refuses a grammar whose brackets nest too deep. Strings, regular expressions and comments are
/// skipped, except that brackets inside a regular expression count: it has a parser of its own.
pub(super) fn check_nesting(grammar: &str) -> Result<(), GrammarError> {
    let mut depth = 0usize;
    let mut chars = grammar.chars().peekable();
    let mut in_string = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '"' => in_string = !in_string,
            '\n' => in_string = false,
            _ if in_string => {}
            '/' if chars.peek() == Some(&'/') => while chars.next_if(|c| *c != '\n').is_some() {},
            '(' | '[' | '{' => {
                depth += 1;
                if depth > MAX_NESTING {
                    return Err(GrammarError::TooDeep { most: MAX_NESTING });
                }
            }
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The expression without anchors around the whole of it: an output must match from its start to
/// its end anyway, and the compiler has no anchors. A lone backslash at the end is refused, because
/// the compiler would drop it.
pub(super) fn whole_match(regex: &str) -> Result<&str, GrammarError> {
    let trailing = regex.chars().rev().take_while(|c| *c == '\\').count();
    if trailing % 2 == 1 {
        let message = "the regular expression ends with a lone backslash".to_owned();
        return Err(GrammarError::Invalid { message });
    }
    let start = regex.strip_prefix('^').unwrap_or(regex);
    let end = start.strip_suffix('$').filter(|rest| {
        // An escaped dollar is a character.
        rest.chars().rev().take_while(|c| *c == '\\').count() % 2 == 0
    });
    let inner = end.unwrap_or(start);
    // `^a|b$` anchors each branch on one side only: leave it, so that it is refused and not
    // changed.
    Ok(if has_top_level_bar(inner) { regex } else { inner })
}

fn has_top_level_bar(regex: &str) -> bool {
    let (mut depth, mut in_class) = (0i64, false);
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}
