//! `dcd plugin allow`

use std::collections::BTreeMap;

use super::wrong;
use crate::{
    cli::AllowArgs,
    commands::output::print,
    error::{CommandError, Exit},
    plugin::{install, locate},
};

pub(super) fn allow(args: &AllowArgs) -> Result<Exit, CommandError> {
    let none = BTreeMap::new();
    let located = locate::Locator::in_directory(&args.dir, &none).find(&args.plugin, &(0..0));
    let located = located.and_then(locate::Located::verified);
    let granted = located.and_then(|located| install::allow(&located, &args.grants)).map_err(wrong)?;
    print(&format!("{} grants it now\n", granted.path.display()))?;
    Ok(Exit::Success)
}
