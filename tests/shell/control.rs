//! The control socket between a real client and a scripted node.

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use expressnet::model::ids::CommandNo;
use expressnet::node::command::Request;
use expressnet::node::input::Command;
use expressnet::shell::control::{
    AskError, CONNECTIONS_MAX, ControlError, ControlHandle, ControlSink, REQUEST_BYTES_MAX, ask,
};
use tokio::sync::oneshot;

use crate::home;
use crate::shell::world::on_local_set;

#[test]
fn an_answer_of_several_lines_comes_whole() {
    with_node("control-answer", |home| {
        let lines = ask(home, &Request::Status {}).unwrap();
        assert_eq!(lines, ["{\"line\":1}", "{\"line\":2}"]);
    });
}

#[test]
fn what_is_no_request_is_refused_with_the_reason() {
    with_node("control-refusal", |home| {
        let id = "x".to_owned();
        let refused = ask(home, &Request::OfferExplain { id });
        let Err(AskError::Refused(why)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(why, "`id` is not the id of an offer");
        let long = vec![b'x'; usize::try_from(REQUEST_BYTES_MAX).unwrap() + 10];
        assert!(raw(home, &long).contains("one line of at most 65536 bytes"));
        assert!(raw(home, b"{\"verb\":\"status\",\"x\":1}\n").contains("unknown field `x`"));
    });
}

#[test]
fn clients_beyond_the_limit_are_told_so() {
    with_node("control-limit", |home| {
        let idle: Vec<UnixStream> = (0..CONNECTIONS_MAX)
            .map(|_| UnixStream::connect(home.join("control.sock")).unwrap())
            .collect();
        assert!(raw(home, b"").contains("too many clients"));
        drop(idle);
    });
}

#[test]
fn only_the_owner_gets_to_the_socket() {
    with_node("control-mode", |home| {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home), 0o700);
        assert_eq!(mode(&home.join("control.sock")), 0o600);
    });
}

#[test]
fn without_a_node_the_client_says_how_to_start_one() {
    let home = home("control-none");
    let error = ask(&home, &Request::Status {}).expect_err("answered");
    assert!(matches!(error, AskError::Unreachable { .. }));
    assert!(
        error
            .to_string()
            .ends_with("start one with `expressnet run`"),
        "{error}"
    );
}

#[test]
fn a_stale_socket_is_replaced_but_a_living_one_is_not() {
    let home = home("control-stale");
    drop(UnixListener::bind(home.join("control.sock")).unwrap());
    on_local_set(async {
        let node = Node::serve(&home).unwrap();
        let second = Node::serve(&home);
        assert!(matches!(second, Err(ControlError::InUse { .. })));
        drop(node);
    });
    assert!(!home.join("control.sock").exists());
    fs::write(home.join("control.sock"), "precious").unwrap();
    on_local_set(async {
        assert!(matches!(
            Node::serve(&home),
            Err(ControlError::Foreign { .. })
        ));
    });
    assert_eq!(fs::read(home.join("control.sock")).unwrap(), b"precious");
}

/// Answers every command with two lines.
struct Node {
    handle: RefCell<Option<ControlHandle>>,
}

impl Node {
    fn serve(home: &Path) -> Result<Rc<Self>, ControlError> {
        let node = Rc::new(Self {
            handle: RefCell::new(None),
        });
        let handle = ControlHandle::serve(home, Rc::clone(&node) as Rc<dyn ControlSink>)?;
        *node.handle.borrow_mut() = Some(handle);
        Ok(node)
    }

    fn close(&self) {
        drop(self.handle.borrow_mut().take());
    }
}

impl ControlSink for Node {
    fn command(&self, number: CommandNo, command: Command) {
        assert_eq!(command, Command::Status);
        let handle = self.handle.borrow();
        let handle = handle.as_ref().unwrap();
        handle.answer(number, b"{\"line\":1}", false);
        handle.answer(number, b"{\"line\":2}", true);
        handle.answer(number, b"too late", true);
    }
}

/// Runs a node in a thread of its own while `client` asks it.
fn with_node(name: &str, client: impl FnOnce(&Path)) {
    let home: PathBuf = home(name);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, is_ready) = mpsc::sync_channel(1);
    let node_home = home.clone();
    let node = thread::spawn(move || {
        on_local_set(async {
            let node = Node::serve(&node_home).unwrap();
            ready.send(()).unwrap();
            drop(stopped.await);
            node.close();
        });
    });
    is_ready.recv().unwrap();
    client(&home);
    drop(stop);
    node.join().unwrap();
}

fn raw(home: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(home.join("control.sock")).unwrap();
    drop(stream.write_all(bytes));
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}
