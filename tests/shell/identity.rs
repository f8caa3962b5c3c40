//! Attack 38: key files that others can reach, and what a home and a list of peers refuse.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use expressnet::membership::card::Card;
use expressnet::model::ids::{NodeId, OwnerId};
use expressnet::shell::identity::{Identity, OwnerSource};
use expressnet::shell::peers::PeerList;

use crate::shell::world::{Folder, Home, mode};

const FILES: [&str; 4] = ["node.key", "node.crt", "knock.key", "owner.key"];

/// The home is refused with `expected` in the message, and opens again once `mended`.
fn refused(home: &Home, spoil: impl FnOnce(), expected: &str, mend: impl FnOnce()) {
    let path = &home.folder.0;
    assert!(Identity::open(path).is_ok());
    spoil();
    let message = Identity::open(path).unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
    mend();
    assert_eq!(Identity::open(path).unwrap().node_id(), home.id());
}

#[test]
fn a_home_is_private_and_opens_as_the_same_node() {
    let home = Home::new();
    assert_eq!(mode(&home.folder.0), 0o700);
    for name in FILES {
        assert_eq!(mode(&home.folder.file(name)), 0o600, "{name}");
    }
    assert_eq!(Identity::open(&home.folder.0).unwrap().node_id(), home.id());
    assert!(Identity::create(&home.folder.0, OwnerSource::New).is_err());
    fs::remove_file(home.folder.file("node.crt")).unwrap();
    assert_eq!(Identity::open(&home.folder.0).unwrap().node_id(), home.id());
}

#[test]
fn a_home_that_was_not_finished_is_finished_and_keeps_its_owner() {
    let home = Home::new();
    let owner = home.identity.owner();
    fs::remove_file(home.folder.file("node.key")).unwrap();
    let again = Identity::create(&home.folder.0, OwnerSource::New).unwrap();
    assert_eq!(again.owner(), owner);
    assert_ne!(again.node_id(), home.id());
}

#[test]
fn attack_38_files_that_others_can_reach_are_refused_with_the_remedy() {
    let home = Home::new();
    let chmod = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in FILES {
        let file = home.folder.file(name);
        for bad in [0o644, 0o640, 0o601, 0o700] {
            refused(
                &home,
                || chmod(&file, bad),
                "run: chmod 600 ",
                || chmod(&file, 0o600),
            );
        }
    }
    let folder = &home.folder.0;
    refused(
        &home,
        || chmod(folder, 0o755),
        "run: chmod 700 ",
        || chmod(folder, 0o700),
    );
}

#[test]
fn attack_38_links_and_foreign_files_are_refused() {
    let home = Home::new();
    for name in FILES {
        let (file, aside) = (home.folder.file(name), home.folder.file("aside"));
        let spoil = || {
            fs::rename(&file, &aside).unwrap();
            symlink(&aside, &file).unwrap();
        };
        refused(&home, spoil, "is a symbolic link", || {
            fs::rename(&aside, &file).unwrap()
        });
    }
    let file = home.folder.file("node.key");
    let folder_at = || {
        fs::rename(&file, home.folder.file("aside")).unwrap();
        fs::create_dir(&file).unwrap();
    };
    refused(&home, folder_at, "is not a plain file", || {
        fs::remove_dir(&file).unwrap();
        fs::rename(home.folder.file("aside"), &file).unwrap();
    });
    if chown(&file, Some(12_345), None).is_ok() {
        let message = Identity::open(&home.folder.0).unwrap_err().to_string();
        assert!(message.contains("belongs to user 12345"), "{message}");
        assert!(message.contains("run: chown 0 "), "{message}");
    }
}

#[test]
fn attack_38_cut_off_and_exchanged_files_are_refused() {
    let home = Home::new();
    for name in FILES {
        let file = home.folder.file(name);
        let whole = fs::read(&file).unwrap();
        for len in [0, 1, whole.len() - 1] {
            let spoil = || fs::write(&file, &whole[..len]).unwrap();
            refused(&home, spoil, "cut off or damaged", || {
                fs::write(&file, &whole).unwrap()
            });
        }
        let spoil = || fs::write(&file, vec![7; 5_000]).unwrap();
        refused(&home, spoil, "longer than 4096", || {
            fs::write(&file, &whole).unwrap()
        });
    }
    let other = Home::new();
    let file = home.folder.file("node.crt");
    let spoil = || fs::write(&file, other.steal("node.crt")).unwrap();
    let mend = || fs::write(&file, home.steal("node.crt.good")).unwrap();
    fs::copy(&file, home.folder.file("node.crt.good")).unwrap();
    refused(&home, spoil, "not the certificate of node.key", mend);
}

#[test]
fn an_owner_vouches_for_further_nodes_with_and_without_leaving_its_key() {
    let first = Home::new();
    let key = first.folder.file("owner.key");
    let (copied, vouched) = (Folder::new(), Folder::new());
    let copy = Identity::create(&copied.0, OwnerSource::Copied(&key)).unwrap();
    let proof = Identity::create(&vouched.0, OwnerSource::Vouched(&key)).unwrap();
    assert!(copied.file("owner.key").exists() && !copied.file("owner.proof").exists());
    assert!(!vouched.file("owner.key").exists() && vouched.file("owner.proof").exists());
    let owner_on = |identity: &Identity| -> OwnerId {
        let card = identity
            .card("mine", &["192.0.2.1:1".parse().unwrap()])
            .unwrap();
        Card::parse(&card).unwrap().peer(10).owner
    };
    for identity in [&copy, &proof, &Identity::open(&vouched.0).unwrap()] {
        assert_eq!(owner_on(identity), first.identity.owner());
    }
    let own = fs::read(vouched.file("owner.proof")).unwrap();
    let mut forged = own.clone();
    forged[0] ^= 1;
    fs::write(vouched.file("owner.proof"), &forged).unwrap();
    assert!(
        Identity::open(&vouched.0)
            .unwrap_err()
            .to_string()
            .contains("does not vouch")
    );
    fs::write(vouched.file("owner.proof"), &own[..95]).unwrap();
    assert!(
        Identity::open(&vouched.0)
            .unwrap_err()
            .to_string()
            .contains("cut off")
    );
}

#[test]
fn attack_39_neither_debug_nor_an_error_shows_a_secret() {
    let home = Home::new();
    let debug = format!("{:?}", home.identity);
    assert_eq!(debug, format!("Identity {{ node: {}, .. }}", home.id()));
    let file = home.folder.file("knock.key");
    let secret = fs::read(&file).unwrap();
    fs::write(&file, &secret[..31]).unwrap();
    let error = Identity::open(&home.folder.0).unwrap_err();
    let hex: String = secret[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let text = format!("{error} {error:?}");
    assert!(!text.contains(&hex) && !text.contains(&format!("{}, {}, ", secret[0], secret[1])));
}

#[test]
fn the_list_of_peers_lasts_and_refuses_a_faulty_line_by_its_number() {
    let home = Home::new();
    let cards: Vec<String> = (0..3)
        .map(|_| {
            Home::new()
                .identity
                .card("friend", &["192.0.2.1:1".parse().unwrap()])
                .unwrap()
        })
        .collect();
    let open = || PeerList::open(&home.folder.0, home.id());
    let mut list = open().unwrap();
    assert_eq!(list.list().count(), 0);
    for (trust, card) in [10, 0, 7].into_iter().zip(&cards) {
        list.add(card, trust).unwrap();
    }
    let file = home.folder.file("peers");
    assert_eq!(mode(&file), 0o600);
    let ids = |list: &PeerList| -> Vec<(NodeId, u8)> {
        list.list().map(|peer| (peer.id, peer.trust)).collect()
    };
    assert_eq!(ids(&open().unwrap()), ids(&list));
    assert!(
        list.add(&cards[0], 1)
            .unwrap_err()
            .to_string()
            .contains("listed already")
    );
    assert!(
        list.add(&cards[0], 11)
            .unwrap_err()
            .to_string()
            .contains("0 to 10")
    );
    let own = home
        .identity
        .card("me", &["192.0.2.1:1".parse().unwrap()])
        .unwrap();
    assert!(
        list.add(&own, 1)
            .unwrap_err()
            .to_string()
            .contains("itself")
    );
    let gone = list.list().nth(1).unwrap().id;
    list.remove(gone).unwrap();
    assert!(list.remove(gone).is_err());
    assert_eq!(ids(&open().unwrap()).len(), 2);

    let good = fs::read_to_string(&file).unwrap();
    for (bad, line) in [
        (format!("{good}nonsense\n"), 3),
        (format!("11 {}\n{good}", cards[1]), 1),
        (format!("+7 {}\n{good}", cards[1]), 1),
        (format!("{good}\n"), 3),
        (good.trim_end().to_owned(), 2),
        (good.replacen(":", ";", 1), 1),
        (format!("{good}{good}"), 3),
    ] {
        fs::write(&file, bad).unwrap();
        let message = open().unwrap_err().to_string();
        assert!(message.ends_with(&format!("peers:{line}")), "{message}");
    }
    fs::write(&file, good).unwrap();
    assert!(open().is_ok());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open().unwrap_err().to_string().contains("chmod 600"));
}
