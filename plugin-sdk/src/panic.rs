//! A panic ends the plugin, so what it said must leave before.

/// Makes panics reach the runner's log. Called by every export that can be a plugin's first.
pub(crate) fn install() {
    #[cfg(target_arch = "wasm32")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            // std's hook prints to stderr, as usual, after ours.
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                let message = info.payload_as_str().unwrap_or("the plugin panicked");
                let (file, line) = info.location().map_or((String::new(), String::new()), |at| {
                    (at.file().to_owned(), at.line().to_string())
                });
                crate::log::error(message, &[("file", file.as_str()), ("line", line.as_str())]);
                print(info);
            }));
        });
    }
}
