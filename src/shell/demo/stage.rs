//! Builds the demo: served venues, homes in a folder of its own, running nodes, links.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::config::checked::{Config, Known};
use crate::membership::Peer;
use crate::membership::card::Card;
use crate::model::ids::CommandNo;
use crate::model::time::{Span, Time};
use crate::node::Node;
use crate::node::input::Command;
use crate::risk::Switch;
use crate::shell::boot::{self, Rehearsal, Start};
use crate::shell::clock::Clock;
use crate::shell::control::ControlSink;
use crate::shell::demo::DemoError;
use crate::shell::demo::cast::{ACCOUNT, Kind, LINKS, ROLES, Role, Script};
use crate::shell::driver::Driver;
use crate::shell::identity::{Identity, OwnerSource};
use crate::shell::private_file;
use crate::shell::venue_server::{self, Served};
use crate::venue::serving::market::Source;
use crate::venue::serving::{AccountSettings, Audit, ServerSettings};
use crate::venue::{Credentials, registry};

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) venues: Vec<Served>,
    pub(super) actors: Vec<Actor>,
    _folder: Folder,
}

/// One running node.
#[derive(Debug)]
pub(super) struct Actor {
    pub(super) role: Role,
    driver: Rc<Driver>,
}

/// A folder that goes with the demo.
#[derive(Debug)]
struct Folder(PathBuf);

/// Orders and answers of the demo have no client at the control socket.
const NOBODY: CommandNo = CommandNo(0);
/// The owner's trust in own nodes, and in all others of the demo.
const TRUST: u8 = 10;
/// When both venues begin: late enough for all nodes to be there.
const OVERTURE: Span = Span::millis(1_500);

impl Stage {
    /// Serves the venues, makes five homes and starts a node in each.
    pub(super) async fn build(script: &Script, seed: u64) -> Result<Self, DemoError> {
        let clock = Clock::start();
        let begins = clock.now() + OVERTURE;
        let mut venues = Vec::new();
        for (index, salt) in [(0, 0), (1, 0x9E37_79B9)] {
            let settings = server_settings(script, index, seed ^ salt, begins);
            let server = script.venues[index].dialect.server(settings)?;
            let listen = SocketAddr::from(([127, 0, 0, 1], 0));
            let served = venue_server::serve(listen, server, clock).await;
            venues.push(served.map_err(|error| DemoError::Home(error.into()))?);
        }
        let addresses = [venues[0].address(), venues[1].address()];
        let folder = Folder::make(seed, begins)?;
        let mut actors = Vec::new();
        for (index, role) in ROLES.into_iter().enumerate() {
            let home = folder.0.join(role.name);
            let text = script.config(role, &addresses);
            write_home(&folder.0, &home, role, script)?;
            let seed = seed.wrapping_add(index as u64);
            let driver = start(role, home, &text, seed)?;
            actors.push(Actor { role, driver });
        }
        let stage = Self {
            venues,
            actors,
            _folder: folder,
        };
        stage.link()?;
        Ok(stage)
    }

    /// Introduces the nodes to each other, as their owners' cards would.
    fn link(&self) -> Result<(), DemoError> {
        for (one, other) in LINKS {
            for (from, to) in [(one, other), (other, one)] {
                let peer = self.peer_of(&self.actors[from])?;
                self.actors[to].tell(Command::PeerAdded { peer });
            }
        }
        Ok(())
    }

    fn peer_of(&self, actor: &Actor) -> Result<Peer, DemoError> {
        let home = self._folder.0.join(actor.role.name);
        let identity = Identity::open(&home).map_err(|error| DemoError::Home(error.into()))?;
        let address: Vec<SocketAddr> = actor.driver.local_addr().into_iter().collect();
        let card = identity
            .card(actor.role.name, &address)
            .and_then(|card| Card::parse(&card))
            .map_err(|error| DemoError::Home(error.into()))?;
        Ok(card.peer(TRUST))
    }

    /// Lets nothing new begin and takes every offer back.
    pub(super) fn close(&self) {
        for actor in &self.actors {
            actor.tell(Command::Switch(Switch::Reduce));
        }
    }

    /// Returns true once nothing is under way at any node.
    pub(super) fn is_quiet(&self) -> bool {
        self.actors.iter().all(|actor| actor.look(Node::is_at_rest))
    }

    /// Asks the venues for their own books.
    pub(super) async fn audit(&self) -> Vec<Audit> {
        let mut audits = Vec::new();
        for venue in &self.venues {
            audits.push(venue.audit().await.unwrap_or_default());
        }
        audits
    }

    pub(super) async fn stop(self) {
        for actor in &self.actors {
            actor.driver.stop().await;
        }
    }
}

impl Actor {
    pub(super) fn look<T>(&self, look: impl FnOnce(&Node) -> T) -> T {
        self.driver.look(look)
    }

    fn tell(&self, command: Command) {
        self.driver.command(NOBODY, command);
    }
}

fn server_settings(script: &Script, index: usize, seed: u64, begins: Time) -> ServerSettings {
    let part = &script.venues[index];
    let mut source = part.source.clone();
    if let Source::History { settings, .. } = &mut source {
        settings.started = Some(begins);
    }
    ServerSettings {
        rules: part.rules,
        maker_fee_ppm: part.rules.taker_fee_ppm,
        markets: vec![(script.pair, source)],
        accounts: vec![AccountSettings {
            credentials: Credentials {
                key: ACCOUNT.0.to_owned(),
                secret: ACCOUNT.1.to_owned(),
            },
            balances: script.funds(index).to_vec(),
            may_withdraw: false,
        }],
        seed,
        faults: Vec::new(),
        requests_per_s: part.dialect.card().requests_per_s,
        personality: None,
    }
}

fn write_home(folder: &Path, home: &Path, role: Role, script: &Script) -> Result<(), DemoError> {
    let first = match role.kind {
        Kind::Trader(_) | Kind::Relay => "A",
        Kind::Provider(_) => "P1",
    };
    let key = folder.join(first).join("owner.key");
    let owner = match role.name == first {
        true => OwnerSource::New,
        false => OwnerSource::Vouched(&key),
    };
    let identity = Identity::create(home, owner).map_err(|error| DemoError::Home(error.into()))?;
    if let Kind::Trader(index) = role.kind {
        let capability = format!(
            "node = \"{}\"\nvenues = [\"{}\"]\nexpires = \"9999-12-31\"\n",
            identity.node_id(),
            script.venues[index].name
        );
        let keys = format!("{}\n{}\n", ACCOUNT.0, ACCOUNT.1);
        for (name, text) in [("live.toml", capability), ("venue.key", keys)] {
            private_file::write(&home.join(name), text.as_bytes())
                .map_err(|error| DemoError::Home(error.into()))?;
        }
    }
    Ok(())
}

fn start(role: Role, home: PathBuf, text: &str, seed: u64) -> Result<Rc<Driver>, DemoError> {
    let name = role.name;
    let known = Known {
        dialects: registry::VENUES,
        cores: 4,
    };
    let mut config =
        Config::parse(text, name, &known).map_err(|source| DemoError::Config { name, source })?;
    // Any free port: the cards are handed over once it is known.
    config.listen.set_port(0);
    let start = Start {
        home,
        config,
        crash: None,
        seed,
        rehearsal: Rehearsal::default(),
    };
    boot::start(start).map_err(|source| DemoError::Node {
        name,
        source: Box::new(source),
    })
}

impl Folder {
    fn make(seed: u64, now: Time) -> Result<Self, DemoError> {
        let name = format!(
            "expressnet-demo-{}-{seed}-{}",
            std::process::id(),
            now.0 % 1_000_000
        );
        let path = std::env::temp_dir().join(name);
        private_file::make_folder(&path).map_err(|error| DemoError::Home(error.into()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
