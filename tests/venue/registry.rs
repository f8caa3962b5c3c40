//! The table of dialects is complete.

use std::fs;
use std::path::Path;

use expressnet::venue::registry::{VENUES, find};

#[test]
fn a_folder_with_a_dialect_is_registered() {
    let venues = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/venue");
    let mut folders = 0;
    for entry in fs::read_dir(venues).unwrap() {
        let folder = entry.unwrap();
        let files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
        let mut texts = files.map(|file| fs::read_to_string(file.path()).unwrap_or_default());
        if texts.any(|text| text.contains("impl Dialect for")) {
            let name = folder.file_name().into_string().unwrap();
            assert!(find(&name).is_some(), "src/venue/{name} is not in VENUES");
            folders += 1;
        }
    }
    assert!(folders > 0 && folders <= VENUES.len());
}
