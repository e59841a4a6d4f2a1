//! Colour, where it is wanted.

use std::io::IsTerminal;

/// How to write emphasis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// No colour at all.
    pub const PLAIN: Style = Style { colour: false };

    /// By the conventions: `NO_COLOR`, else `FORCE_COLOR` or `CLICOLOR_FORCE`, else whether it is a terminal.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let colour = if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            false
        } else {
            set("FORCE_COLOR") || set("CLICOLOR_FORCE") || stream.is_terminal()
        };
        Style { colour }
    }

    /// Whether there is colour.
    pub fn is_coloured(self) -> bool {
        self.colour
    }

    /// Emphasised.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Of less interest.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Went well.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Went wrong.
    pub fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Wants attention.
    pub fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
