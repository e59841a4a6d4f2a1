//! Secrets, by name. Each needs the grant `secrets`.

use crate::Error;

/// The secret's value. The runner masks it in everything that the plugin prints from now on.
///
/// [`Error::Denied`] when it is not granted, [`Error::NotFound`] when there is none of that name.
pub fn get(name: &str) -> Result<String, Error> {
    crate::host::secret(name)
}
