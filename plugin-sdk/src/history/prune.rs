//! What is left of output that was dropped.

use sha2::{Digest, Sha256};

use super::{Event, Payload};

/// Drops what a step printed from a `step.output` event, and leaves its length and SHA-256, by which the event's hash can
/// still be checked. Answers how many bytes were dropped; of any other event none are.
pub fn prune(event: &mut Event) -> u64 {
    let Payload::Bytes(bytes) = &event.payload else { return 0 };
    if event.kind != "step.output" {
        return 0;
    }
    let length = bytes.len() as u64;
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    event.payload = Payload::Json(format!(r#"{{"pruned":{{"bytes":{length},"sha256":"{digest}"}}}}"#));
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_output_is_dropped() {
        let event = |kind: &str, payload| Event {
            seq: 3,
            at: 4,
            kind: kind.into(),
            step: Some("test".into()),
            payload,
            hash: vec![7; 32],
        };
        let mut output = event("step.output", Payload::Bytes(b"abc".to_vec()));
        assert_eq!(prune(&mut output), 3);
        let Payload::Json(left) = &output.payload else { panic!("bytes are left") };
        assert_eq!(
            left,
            r#"{"pruned":{"bytes":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}"#
        );
        assert_eq!((output.seq, output.hash.len()), (3, 32));
        assert_eq!(prune(&mut output), 0, "once");

        let mut other = event("blob", Payload::Bytes(b"abc".to_vec()));
        assert_eq!(prune(&mut other), 0);
        assert!(matches!(other.payload, Payload::Bytes(_)));
    }
}
