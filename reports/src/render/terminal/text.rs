//! Styled text that knows its width: words are wrapped whole, numbers stay with their units.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::super::number::GLUE;
use crate::schema::State;

/// How a piece of text looks where color is wanted. Without color nothing is lost: words and marks say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Strong,
    Quiet,
    State(State),
}

impl Look {
    fn style(self) -> Style {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into())).bold();
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Quiet => Style::new().dimmed(),
            Self::State(State::Ready) => color(AnsiColor::Green),
            Self::State(State::Degraded) => color(AnsiColor::Yellow),
            Self::State(State::Blocked | State::PermissionDenied) => color(AnsiColor::Red),
            Self::State(State::Inconclusive) => color(AnsiColor::Cyan),
            Self::State(State::NotTested) => Style::new().dimmed(),
        }
    }
}

/// A run of text in one look.
#[derive(Debug, Clone)]
pub(super) struct Span {
    look: Look,
    text: String,
}

/// A line, or a paragraph not yet wrapped.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Vec<Span>);

impl Line {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::new().with(Look::Plain, text)
    }

    /// Adds text in a look.
    pub(super) fn with(mut self, look: Look, text: impl Into<String>) -> Self {
        self.push(look, text);
        self
    }

    pub(super) fn push(&mut self, look: Look, text: impl Into<String>) {
        let text = text.into();
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if last.look == look => last.text.push_str(&text),
            _ => self.0.push(Span { look, text }),
        }
    }

    /// Adds spaces up to a column.
    pub(super) fn pad_to(&mut self, column: usize) {
        let missing = column.saturating_sub(self.width());
        self.push(Look::Plain, " ".repeat(missing));
    }

    /// Adds another line's text.
    pub(super) fn append(&mut self, other: Self) {
        for span in other.0 {
            self.push(span.look, span.text);
        }
    }

    /// Columns that it takes.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|span| span.text.width()).sum()
    }

    /// Breaks it between words into lines of at most `width` columns. A word wider than a line is cut.
    pub(super) fn wrap(self, width: usize) -> Vec<Self> {
        let width = width.max(1);
        let mut lines = vec![Self::new()];
        let mut used = 0;
        for word in self.words() {
            let space = usize::from(used > 0);
            let fits = used + space + word.width() <= width;
            if !fits && used > 0 {
                lines.push(Self::new());
                used = 0;
            }
            for (index, part) in word.cut(width).into_iter().enumerate() {
                if index > 0 {
                    lines.push(Self::new());
                    used = 0;
                }
                let line = lines.last_mut().expect("starts with one line and only grows");
                if used > 0 {
                    let look = part.0.first().map_or(Look::Plain, |span| span.look);
                    line.push(look, " ");
                    used += 1;
                }
                used += part.width();
                line.append(part);
            }
        }
        lines
    }

    /// Splits at spaces; a word may span several looks.
    fn words(self) -> Vec<Self> {
        let mut words = vec![Self::new()];
        for span in self.0 {
            for (index, piece) in span.text.split(' ').enumerate() {
                if index > 0 {
                    words.push(Self::new());
                }
                words.last_mut().expect("starts with one word and only grows").push(span.look, piece);
            }
        }
        words.retain(|word| !word.0.is_empty());
        words
    }

    /// Cuts a word into parts of at most `width` columns.
    fn cut(self, width: usize) -> Vec<Self> {
        if self.width() <= width {
            return vec![self];
        }
        let mut parts = vec![Self::new()];
        let mut used = 0;
        for span in self.0 {
            for c in span.text.chars() {
                let columns = c.width().unwrap_or(0);
                if used + columns > width && used > 0 {
                    parts.push(Self::new());
                    used = 0;
                }
                used += columns;
                parts.last_mut().expect("starts with one part and only grows").push(span.look, c);
            }
        }
        parts
    }

    /// Writes it with a line feed and without trailing spaces.
    pub(super) fn write(&self, out: &mut String, color: bool, ascii: bool) {
        let mut line = String::new();
        for span in &self.0 {
            let text = if ascii { to_ascii(&span.text) } else { span.text.replace(GLUE, " ") };
            let style = span.look.style();
            if color && style != Style::new() && !text.trim().is_empty() {
                write!(line, "{style}{text}{style:#}").expect("a String takes any text");
            } else {
                line.push_str(&text);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Replaces what is not ASCII, each character by one as wide, so that columns stay.
fn to_ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            GLUE => out.push(' '),
            '✓' => out.push('+'),
            '▲' => out.push('!'),
            '✗' => out.push('x'),
            '⊘' => out.push('#'),
            '–' | '−' | '─' | '—' => out.push('-'),
            '·' => out.push('|'),
            '→' | '≥' => out.push('>'),
            '≤' => out.push('<'),
            '×' => out.push('x'),
            '°' => out.push_str("deg "),
            '’' | '‘' => out.push('\''),
            '“' | '”' => out.push('"'),
            '…' => out.push('~'),
            c => out.extend(std::iter::repeat_n('?', c.width().unwrap_or(0))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: usize) -> Vec<String> {
        let written = |line: Line| {
            let mut out = String::new();
            line.write(&mut out, false, false);
            out.trim_end_matches('\n').to_owned()
        };
        Line::plain(text).wrap(width).into_iter().map(written).collect()
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        assert_eq!(wrapped("lost 3.4\u{a0}% up", 10), ["lost 3.4 %", "up"]);
        assert_eq!(wrapped("lost 3.4\u{a0}% up", 9), ["lost", "3.4 % up"]);
    }

    #[test]
    fn a_word_wider_than_the_line_is_cut_and_nothing_is_lost() {
        assert_eq!(wrapped("see abcdefghij now", 4), ["see", "abcd", "efgh", "ij", "now"]);
    }

    #[test]
    fn wide_characters_count_two_columns() {
        assert_eq!(wrapped("会議室 会議", 6), ["会議室", "会議"]);
        assert_eq!(wrapped("会議室", 4), ["会議", "室"]);
    }

    #[test]
    fn ascii_keeps_columns() {
        for text in ["✓ ▲ ✗ ⊘ – · → 2.0–5.4\u{a0}%", "会議 é", "≥ ≤ ×"] {
            assert_eq!(to_ascii(text).width(), text.width(), "{text}");
            assert!(to_ascii(text).is_ascii());
        }
    }
}
