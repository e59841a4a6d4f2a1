//! Where a build is shown, and how.

use std::io::IsTerminal;

use crate::{
    cli::OutputMode,
    commands::output,
    engine::ports::Sink,
    error::CommandError,
    report::{self, Mode, Ndjson, Size, Style},
};

/// What shows a build.
pub(super) struct Screen {
    /// Gets the events.
    pub(super) sink: Box<dyn Sink>,
    /// To be held until the build is over.
    pub(super) curtain: Curtain,
}

/// Takes what is drawn off the terminal when it is dropped, should the build have broken.
pub(super) struct Curtain(Option<Box<dyn FnOnce() + Send>>);

impl Drop for Curtain {
    fn drop(&mut self) {
        if let Some(close) = self.0.take() {
            close();
        }
    }
}

/// What was asked for, or what fits where standard output goes.
pub(super) fn mode(asked: Option<OutputMode>) -> Result<Mode, CommandError> {
    let terminal = std::io::stdout().is_terminal();
    match asked {
        Some(OutputMode::Live) if !terminal => Err(CommandError::usage(
            "--output live needs a terminal, and standard output is none",
            "leave --output away, or say --output plain; a container has a terminal with docker run -t",
        )),
        Some(OutputMode::Live) => Ok(Mode::Live),
        Some(OutputMode::Plain) => Ok(Mode::Plain),
        Some(OutputMode::Json) => Ok(Mode::Json),
        None => Ok(Mode::fitting(terminal, |name| std::env::var_os(name))),
    }
}

impl Screen {
    pub(super) fn open(mode: Mode) -> Self {
        let style = Style::of(&std::io::stdout());
        let (sink, close) = match mode {
            Mode::Plain => (report::plain(output::stdout(), style), None),
            Mode::Groups(ci) => (report::groups(output::stdout(), ci, style), None),
            Mode::Json => (Box::new(Ndjson::new(output::stdout())) as Box<dyn Sink>, None),
            Mode::Live => {
                let (sink, close) = report::live(output::stdout(), size, style);
                (sink, Some(close))
            }
        };
        Screen { sink, curtain: Curtain(close) }
    }
}

/// The size of the terminal on standard output; what terminals once had, if it does not say.
fn size() -> Size {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or(Size { columns: 80, rows: 24 }, |size| Size {
        columns: usize::from(size.ws_col),
        rows: usize::from(size.ws_row),
    })
}
