//! Until the core's own `output_file` is there: lines of `name=value`.

use std::collections::BTreeMap;

#[derive(Debug, thiserror::Error)]
#[error("DCD_OUTPUT line {0} is no `name=value`")]
pub(super) struct OutputError(usize);

pub(super) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, OutputError> {
    let text = String::from_utf8_lossy(bytes);
    let pair = |(at, line): (usize, &str)| {
        let (name, value) = line.split_once('=').ok_or(OutputError(at + 1))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    text.lines().enumerate().map(pair).collect()
}
