//! Whether the table is there and may be used.

use dcd_plugin_sdk::Error;

use crate::item;
use crate::item::Key;
use crate::request::Request;
use crate::table::{Table, random};

impl Table {
    /// Does once all that builds need, to an item of its own, which it deletes.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        let key = Key::new("probe", random()?);
        let tried = self.try_all(&key);
        // Also when it failed in between; what it says of that comes first.
        let deleted = self.delete(Request::delete(&key));
        tried.and(deleted.map(drop))
    }

    fn try_all(&self, key: &Key) -> Result<(), Error> {
        let missing = || {
            Error::other("the table does not have what was just put into it")
                .help("is it a replica that is not written to, or a cache? builds need consistent reads")
        };
        self.put(Request::put(key.with([("n", item::number(0))])).condition("attribute_not_exists(pk)"))?;
        let update = Request::update(key, "SET #n = #n + :one").value(":one", item::number(1));
        self.update(update.condition("attribute_exists(pk)"))?.ok_or_else(missing)?;
        self.get(key)?.ok_or_else(missing)?;
        let found = self.query(Request::query(&key.pk, &key.sk, &key.sk).limit(1))?;
        let got = self.get_all(std::slice::from_ref(key))?;
        if found.items.len() == 1 && got.len() == 1 { Ok(()) } else { Err(missing()) }
    }
}
