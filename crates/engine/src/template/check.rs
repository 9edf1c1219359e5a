//! Bounds and corrections of a template's source before it is parsed.
//!
//! The parser is minijinja's. It bounds the nesting of brackets and blocks, but operator chains and
//! `elif` ladders nest without a bound, so those are counted here, over its own tokens. What it
//! accepts beyond jinja2 (a block left open, `do`) is refused, and HF's `generation` block, which
//! only marks a span for training, becomes a plain scope.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::TemplateError;

/// Longest accepted template; the longest one of the field's has 17,000 bytes.
pub(super) const MAX_BYTES: usize = 256 << 10;
/// Most tokens inside one `{{ }}` or `{% %}`.
const MAX_TAG_TOKENS: usize = 1000;
/// Most nested brackets inside one tag.
const MAX_BRACKETS: usize = 64;
/// Most nested blocks, and most `elif` in one `if`.
const MAX_BLOCKS: usize = 64;
const MAX_ELIF: usize = 100;
/// Statements that open a block.
const BLOCKS: &[&str] = &["call", "filter", "for", "generation", "if", "macro", "with"];

/// Checks a template and returns the text to parse.
pub(super) fn prepare(source: &str, syntax: &SyntaxConfig) -> Result<String, TemplateError> {
    if source.len() > MAX_BYTES {
        return Err(TemplateError::TooLong { found: source.len(), most: MAX_BYTES });
    }
    let mut source = source.replace("\r\n", "\n").replace('\r', "\n");
    let marks = Scan::default().run(&source, syntax)?;
    for (start, end, word) in marks.into_iter().rev() {
        source.replace_range(start..end, word);
    }
    Ok(source)
}

/// Where the scan of the tokens stands.
#[derive(Default)]
struct Scan {
    line: usize,
    /// Open blocks: keyword and number of `elif`s.
    open: Vec<(String, usize)>,
    /// Replacements to make: start, end, text.
    marks: Vec<(usize, usize, &'static str)>,
}

/// One tag while it is read.
#[derive(Default)]
struct Tag {
    tokens: usize,
    brackets: usize,
    keyword: Option<String>,
    assigns: bool,
}

impl Scan {
    fn run(
        mut self,
        source: &str,
        syntax: &SyntaxConfig,
    ) -> Result<Vec<(usize, usize, &'static str)>, TemplateError> {
        let mut tag = Tag::default();
        let mut in_block = false;
        for token in tokenize(source, false, syntax.clone()) {
            let (token, span) = token.map_err(TemplateError::syntax)?;
            self.line = usize::from(span.start_line);
            match &token {
                Token::TemplateData(_) => {}
                Token::VariableStart | Token::BlockStart => {
                    in_block = matches!(token, Token::BlockStart);
                    tag = Tag::default();
                }
                Token::VariableEnd => {}
                Token::BlockEnd => self.close_tag(&tag)?,
                other => {
                    if let (Token::Ident(word), true, 0) = (other, in_block, tag.tokens) {
                        tag.keyword = Some((*word).to_owned());
                        let new = match *word {
                            "generation" => Some("with"),
                            "endgeneration" => Some("endwith"),
                            _ => None,
                        };
                        if let Some(new) = new {
                            self.marks.push((
                                span.start_offset as usize,
                                span.end_offset as usize,
                                new,
                            ));
                        }
                    }
                    self.count(other, &mut tag)?;
                }
            }
        }
        match self.open.pop() {
            Some((block, _)) => self.refuse(format!("the block {block} is never closed")),
            None => Ok(self.marks),
        }
    }

    fn refuse<T>(&self, message: String) -> Result<T, TemplateError> {
        Err(TemplateError::Syntax { line: self.line, message })
    }

    /// Counts a token inside a tag.
    fn count(&self, token: &Token<'_>, tag: &mut Tag) -> Result<(), TemplateError> {
        tag.tokens += 1;
        if tag.tokens > MAX_TAG_TOKENS {
            return self.refuse(format!("one tag has more than {MAX_TAG_TOKENS} tokens"));
        }
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => tag.brackets += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                tag.brackets = tag.brackets.saturating_sub(1);
            }
            Token::Assign if tag.brackets == 0 => tag.assigns = true,
            _ => {}
        }
        if tag.brackets > MAX_BRACKETS {
            return self.refuse(format!("brackets are nested deeper than {MAX_BRACKETS}"));
        }
        Ok(())
    }

    /// Keeps the stack of open blocks at the end of a statement.
    fn close_tag(&mut self, tag: &Tag) -> Result<(), TemplateError> {
        let Some(word) = tag.keyword.as_deref() else { return Ok(()) };
        if let Some(block) = word.strip_prefix("end") {
            return match self.open.pop() {
                Some((open, _)) if open == block => Ok(()),
                Some((open, _)) => self.refuse(format!("{word} closes a block {open}")),
                None => self.refuse(format!("{word} closes no block")),
            };
        }
        match (word, self.open.last_mut()) {
            ("elif", Some((block, ladder))) if block == "if" => {
                *ladder += 1;
                if *ladder > MAX_ELIF {
                    return self.refuse(format!("one if has more than {MAX_ELIF} elif"));
                }
            }
            ("else", Some((block, _))) if block == "if" || block == "for" => {}
            ("set", _) if tag.assigns => {}
            ("break" | "continue", _) => {}
            ("set", _) => self.open.push((word.to_owned(), 0)),
            (word, _) if BLOCKS.contains(&word) => self.open.push((word.to_owned(), 0)),
            (word, _) => return self.refuse(format!("the statement {word} is not supported here")),
        }
        if self.open.len() > MAX_BLOCKS {
            return self.refuse(format!("blocks are nested deeper than {MAX_BLOCKS}"));
        }
        Ok(())
    }
}
