//! The table of dialects is complete.

use std::path::Path;

use expressnet::venue::registry::{VENUES, find};

#[test]
fn a_folder_with_a_dialect_is_registered() {
    let venues = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/venue");
    let mut dialects = 0;
    for entry in std::fs::read_dir(venues).unwrap() {
        let folder = entry.unwrap();
        let text = std::fs::read_to_string(folder.path().join("mod.rs")).unwrap_or_default();
        if text.contains("impl Dialect for") {
            let name = folder.file_name().into_string().unwrap();
            assert!(find(&name).is_some(), "src/venue/{name} is not in VENUES");
            dialects += 1;
        }
    }
    assert_eq!(dialects, VENUES.len());
}
