//! Signatures against vectors that were computed elsewhere.

#![expect(clippy::print_stderr, reason = "what is skipped is said aloud")]

use std::fs;

use expressnet::venue::Credentials;
use expressnet::venue::btce::sign::Signer as BtceSigner;
use expressnet::venue::mtgox::sign::{Signer as MtgoxSigner, Version};
use serde_json::Value;

use crate::venue::fixtures::root;

#[test]
fn fixture_signatures_of_mtgox_are_reproduced() {
    let checked = check(&["mtgox"], |vector| {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let signer = MtgoxSigner::new(&Credentials {
            key: text("key").to_owned(),
            secret: text("secret_b64").to_owned(),
        });
        if let Some(call) = call_of(vector) {
            assert_eq!(signer.call(text("inner_json").as_bytes()), call);
            return;
        }
        let (_, path) = text("url").split_once("/api/").unwrap();
        let (version, method) = match path.split_once('/').unwrap() {
            ("2", method) => (Version::V2, method),
            (_, method) => (Version::V1, method),
        };
        let method = method.split('?').next().unwrap();
        let body = text("body").as_bytes();
        let sign = vector["headers"]["Rest-Sign"].as_str().unwrap();
        assert_eq!(signer.sign(version, method, body), sign, "{vector}");
        assert_eq!(Some(signer.key()), vector["headers"]["Rest-Key"].as_str());
    });
    eprintln!("{checked} vectors of mtgox");
}

#[test]
fn fixture_signatures_of_btce_and_yobit_are_reproduced() {
    let checked = check(&["btce", "yobit"], |vector| {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let signer = BtceSigner::new(&Credentials {
            key: text("key").to_owned(),
            secret: text("secret").to_owned(),
        });
        let request = match vector["request"].is_object() {
            true => &vector["request"],
            false => vector,
        };
        let body = request["body"].as_str().unwrap().as_bytes();
        let sign = request["headers"]["Sign"].as_str();
        assert_eq!(Some(signer.sign(body).as_str()), sign, "{vector}");
    });
    eprintln!("{checked} vectors of btce and yobit");
}

/// Returns the signed call of a vector for the stream, which stands in a frame.
fn call_of(vector: &Value) -> Option<String> {
    let frame = &vector["frame"];
    let text = frame
        .as_str()
        .map(|text| serde_json::from_str(text).unwrap());
    let frame: &Value = text.as_ref().unwrap_or(frame);
    frame["call"].as_str().map(str::to_owned)
}

/// Hands every vector of some venues to `check`, wherever in the file it stands; returns how many.
fn check(venues: &[&str], check: impl Fn(&Value)) -> usize {
    let Some(root) = root() else { return 0 };
    let text = fs::read(root.join("SIGNING_VECTORS.json")).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    let mut checked = 0;
    for group in whole.as_object().unwrap().values() {
        for vector in group.as_array().into_iter().flatten() {
            let name = vector["venue"].as_str().unwrap_or_default();
            if venues.iter().any(|venue| name.contains(venue)) {
                check(vector);
                checked += 1;
            }
        }
    }
    if checked == 0 {
        eprintln!("SKIPPED: no vectors of {venues:?}");
    }
    checked
}
