//! Where bytes go, until nobody reads them any more.

use std::io::Write;

/// A writer whose end is no failure: the build goes on, silently.
pub(super) struct Out<W> {
    to: W,
    closed: bool,
}

impl<W: Write> Out<W> {
    pub(super) fn new(to: W) -> Self {
        Out { to, closed: false }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        if !self.closed && self.to.write_all(bytes).is_err() {
            self.closed = true;
        }
    }

    pub(super) fn flush(&mut self) {
        if !self.closed && self.to.flush().is_err() {
            self.closed = true;
        }
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> W {
        self.to
    }
}
