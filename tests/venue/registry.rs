//! The table of dialects is complete.

use std::path::Path;

use expressnet::venue::registry::{VENUES, find};

#[test]
fn a_folder_with_a_dialect_is_registered() {
    let venues = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/venue");
    let mut dialects = 0;
    for entry in std::fs::read_dir(&venues).unwrap() {
        let folder = entry.unwrap();
        let name = folder.file_name().into_string().unwrap();
        if ["mod.rs", "dialect.rs"].iter().any(|file| {
            let text = std::fs::read_to_string(folder.path().join(file));
            text.unwrap_or_default().contains("impl Dialect for")
        }) {
            assert!(find(&name).is_some(), "src/venue/{name} is not in VENUES");
            dialects += 1;
        }
    }
    // A folder may hold several dialects; one of them has its name.
    let named = VENUES
        .iter()
        .filter(|dialect| venues.join(dialect.name()).is_dir());
    assert_eq!(dialects, named.count());
}
