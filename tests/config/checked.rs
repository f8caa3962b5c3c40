//! What a configuration may say, and every fault at once where it says something else.

use expressnet::config::checked::Trading;
use expressnet::config::raw::text_of;
use expressnet::config::{FAULTS_MAX, FILE_BYTES_MAX, KEYS};
use expressnet::discovery::network::{Mode, Trust};
use expressnet::model::currency::Currency;
use expressnet::model::number::{Price, Quantity};
use expressnet::model::random::Random;
use expressnet::model::time::Span;
use expressnet::offer::RulePrice;

use crate::config::{load, parse};

const LP: &str = include_str!("../../config/lp.toml");
const NODE: &str = include_str!("../../config/node.toml");

/// Asserts that the text is refused with exactly these lines.
#[track_caller]
fn refuses(text: &str, expected: &[&str]) {
    let faults = parse(text).expect_err("accepted");
    let lines: Vec<String> = faults.faults.iter().map(ToString::to_string).collect();
    assert_eq!(lines, expected);
}

/// Asserts that the example with one change is refused with a line that contains this.
#[track_caller]
fn refuses_change(from: &str, to: &str, expected: &str) {
    assert!(NODE.contains(from), "the example lacks {from}");
    let faults = parse(&NODE.replacen(from, to, 1)).expect_err("accepted");
    let text = faults.to_string();
    assert!(text.contains(expected), "{text}");
}

#[test]
fn an_empty_file_is_a_dark_paper_node_with_every_default() {
    let config = parse("").unwrap();
    assert_eq!(config.trading, Trading::Paper);
    assert_eq!(config.membership.places, 6);
    assert_eq!(config.execution.leg_deadline, Span::secs(2));
    assert_eq!(config.risk.collar_ppm, 150_000);
    assert!(config.venues.is_empty());
}

#[test]
fn what_the_file_says_arrives_unchanged() {
    let config = parse(LP).unwrap();
    let [firm, book] = config.offer.rules[..] else {
        panic!("two rules");
    };
    assert_eq!(firm.price, RulePrice::Fixed(Price::whole(105)));
    assert_eq!(firm.approve_above, Some(Quantity::whole(40)));
    let RulePrice::Book { market, spread_ppm } = book.price else {
        panic!("a price from a book");
    };
    assert_eq!(
        (market.to_string().as_str(), spread_ppm),
        ("alpha:BTC/USD", 5_000)
    );
    let config = parse(NODE).unwrap();
    assert_eq!(
        config.offer.methods.to_string(),
        "SEPA|OKPAY|PAYPAL|DWOLLA|ACH"
    );
    assert_eq!(config.venues[0].rules[0].1.taker_fee_ppm, 2_000);
    assert_eq!(
        config.venues[0].paper[0],
        (Currency::BTC, Quantity::whole(10))
    );
}

#[test]
fn all_faults_are_told_at_once_with_place_key_and_remedy() {
    refuses(
        "[node]\nlisten = \"localhost\"\nplaces = 0\n\n[risk]\noder_max = { BTC = \"5\" }\n\
         collar = \"0.00001%\"\n[exekution]\n",
        &[
            "test.toml:2:10: node.listen: `localhost` is not a numeric address with a port of 1 to \
             65535; write for example \"203.0.113.7:7411\" or \"[2001:db8::7]:7411\"",
            "test.toml:3:10: node.places: `0` lies outside 1 to 256",
            "test.toml:6:1: risk.oder_max: unknown key `risk.oder_max`; did you mean `order_max`?",
            "test.toml:7:10: risk.collar: `0.00001%` is not a percentage of 0% to 100% with at \
             most 4 decimals; write for example \"0.2%\"",
            "test.toml:8:2: exekution: unknown key `exekution`; did you mean `execution`?",
        ],
    );
}

#[test]
fn money_never_passes_through_a_bare_number() {
    refuses_change(
        "order_max = { BTC = \"5\" }",
        "order_max = { BTC = 5.0 }",
        "risk.order_max.BTC: an amount in quotes, as in \"1.5\", belongs here, not a bare decimal",
    );
    refuses_change(
        "order_max = { BTC = \"5\" }",
        "order_max = { BTC = \"5 USD\" }",
        "risk.order_max.BTC: `5 USD`: the amount is one of BTC here",
    );
}

#[test]
fn what_is_traded_has_every_limit() {
    refuses_change(
        "order_max = { BTC = \"5\" }",
        "order_max = { LTC = \"5\" }",
        "risk.order_max: no limit for BTC, which is traded; an unset limit allows nothing; add \
         order_max = { BTC = \"1\" }, or \"0\" to forbid it on purpose",
    );
    refuses_change(
        "side = \"sell\", ",
        "side = \"sel\", ",
        "risk.venue_day_max[1].side: unknown word `sel`; did you mean `sell`?",
    );
    refuses_change(
        "\"BTC/USD\" = \"100000\"",
        "\"BTC/EUR\" = \"100000\"",
        "risk.pair_day_notional_max: no limit for BTC/USD",
    );
    let text = NODE
        .lines()
        .filter(|line| !line.contains("side = \"sell\""))
        .collect::<Vec<_>>()
        .join("\n");
    let faults = parse(&text).expect_err("accepted").to_string();
    assert!(faults.contains("sell orders of BTC at alpha"), "{faults}");
}

#[test]
fn a_limit_that_lacks_is_told_beside_other_faults() {
    let text = NODE.replace("order_max = { BTC = \"5\" }", "collar = \"x\"");
    let faults = parse(&text).expect_err("accepted").to_string();
    assert!(faults.contains("risk.collar"), "{faults}");
    assert!(
        faults.contains("risk.order_max: no limit for BTC"),
        "{faults}"
    );
}

#[test]
fn a_venue_has_a_known_dialect_a_name_of_its_own_and_pairs() {
    refuses_change(
        "dialect = \"simulated\"",
        "dialect = \"simulatd\"",
        "venue[0].dialect: unknown dialect `simulatd`; did you mean `simulated`?",
    );
    refuses_change(
        "pairs = [\"BTC/USD\"]",
        "pairs = [\"BTC/BTC\", \"BTC/USD\", \"BTC/USD\"]",
        "venue[0].pairs[2]: `\"BTC/USD\"` stands here twice",
    );
    refuses_change(
        "pairs = [\"BTC/USD\"]",
        "pairs = []",
        "venue[0].pairs: missing; write for example [\"BTC/USD\"]",
    );
    refuses_change(
        "http = \"http://127.0.0.1:7501\"",
        "http = \"http://127.0.0.1\"",
        "venue[0].http: `http://127.0.0.1` is not an address of the form http://host:port",
    );
    let venue = NODE.split("[[venue]]").nth(1).unwrap();
    let venue = venue.split("[arbitrage]").next().unwrap();
    let twice = NODE.replace("[arbitrage]", &format!("[[venue]]{venue}\n[arbitrage]"));
    let faults = parse(&twice).expect_err("accepted").to_string();
    assert!(
        faults.contains("venue[1].name: `alpha` stands here twice"),
        "{faults}"
    );
}

#[test]
fn a_mode_wants_its_networks_and_live_its_leave() {
    refuses(
        "[node]\nmode = \"open\"\n[trading]\nmode = \"live\"\n",
        &[
            "test.toml:1:1: irc: mode `open` without a network to meet anybody on; add [[irc]] with a \
             name and a server, or keep mode = \"dark\"",
            "test.toml:3:1: trading.capability: live trading needs a capability file; add \
             capability = \"live.toml\", or keep mode = \"paper\"",
        ],
    );
    let config = parse("[trading]\nmode = \"live\"\ncapability = \"live.toml\"\n").unwrap();
    assert!(matches!(config.trading, Trading::Live { .. }));
}

#[test]
fn an_open_network_is_read_and_what_is_none_refused() {
    let text = "[node]\nmode = \"mixed\"\n[channel]\nname = \"#desk\"\ntrust_min = 3\n\
                ports = \"50000-50063\"\n[[irc]]\nname = \"one\"\nserver = \"[::1]:6697\"\n\
                [[irc]]\nname = \"two\"\nserver = \"irc.example.org:6667\"\ntls = \"none\"\n";
    let open = parse(text).unwrap().open;
    assert_eq!((open.mode, open.trust_min), (Mode::Mixed, 3));
    assert_eq!(open.ports, Some((50_000, 50_063)));
    let servers: Vec<(&str, u16)> = open
        .networks
        .iter()
        .map(|network| (network.host.as_str(), network.port))
        .collect();
    assert_eq!(servers, [("::1", 6697), ("irc.example.org", 6667)]);
    assert_eq!(open.networks[0].trust, Trust::Public);
    assert_eq!(open.networks[1].trust, Trust::Plain);
    assert!(!open.wants_strangers());
    for (wrong, named) in [
        ("[channel]\nname = \"expressnet\"\n", "channel.name"),
        ("[channel]\nname = \"#a b\"\n", "channel.name"),
        ("[channel]\ntrust_min = 11\n", "channel.trust_min"),
        ("[channel]\nports = \"22-80\"\n", "channel.ports"),
        ("[channel]\nports = \"5000-4000\"\n", "channel.ports"),
        (
            "[channel]\naddress = \"desk.example.org\"\n",
            "channel.address",
        ),
        ("[channel]\nrealname = \"a\\nb\"\n", "channel.realname"),
        (
            "[[irc]]\nname = \"one\"\nserver = \"irc.example.org\"\n",
            "irc[0].server",
        ),
        (
            "[[irc]]\nname = \"one\"\nserver = \"::1:6667\"\n",
            "irc[0].server",
        ),
        (
            "[[irc]]\nname = \"one\"\nserver = \"a\\r\\nQUIT:1\"\n",
            "irc[0].server",
        ),
        (
            "[[irc]]\nname = \"one\"\nserver = \"a:1\"\ntls = \"yes\"\n",
            "irc[0].tls",
        ),
        ("[[irc]]\nserver = \"a:1\"\n", "irc[0].name"),
        (
            "[[irc]]\nname = \"a\"\nserver = \"a:1\"\n[[irc]]\nname = \"a\"\nserver = \"b:1\"\n",
            "irc[1].name",
        ),
    ] {
        let faults = parse(wrong).expect_err(wrong).to_string();
        assert!(faults.contains(named), "{wrong}: {faults}");
    }
}

#[test]
fn offers_that_cannot_work_are_refused() {
    refuses(
        "[offer]\nttl = \"2s\"\ngather = \"3s\"\nhold = \"1s\"\n",
        &[
            "test.toml:3:10: offer.gather: answers are gathered until after the offer has expired; \
             let gather be shorter than ttl",
            "test.toml:4:8: offer.hold: matchers free their funds before the best set is taken; let \
             hold be at least as long as gather",
        ],
    );
    let foreign = LP.replace("want = \"USD\"", "want = \"EUR\"");
    let faults = parse(&foreign).expect_err("accepted").to_string();
    assert!(faults.contains("cannot price BTC in EUR"), "{faults}");
}

#[test]
fn a_rule_without_a_rail_is_a_warning() {
    let text = LP.replace("method = \"OKPAY\"", "method = \"PAYPAL\"");
    let warnings = load(&text).warnings;
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(
        warning.to_string().contains("no rail pays USD by OKPAY"),
        "{warning}"
    );
}

#[test]
fn show_tells_where_each_value_comes_from() {
    let loaded = load(NODE);
    let find = |key: &str| {
        loaded
            .resolved
            .iter()
            .find(|shown| shown.key == key)
            .unwrap()
    };
    assert_eq!(find("risk.collar").value, "\"15%\"");
    assert_eq!(find("risk.collar").line, None);
    assert_eq!(find("venue[0].name").value, "\"alpha\"");
    assert_eq!(find("venue[0].taker_fee").value, "\"0.2%\"");
    assert_eq!(find("venue[0].taker_fee").line, None);
    assert_eq!(find("node.places").value, "\"auto\" (6)");
    let line = find("venue[0].name").line.unwrap();
    assert_eq!(NODE.lines().nth(line - 1), Some("name = \"alpha\""));
    for row in KEYS
        .iter()
        .filter(|row| ["node", "risk", "offer", "execution"].contains(&row.section))
    {
        for key in row.keys {
            let path = format!("{}.{}", row.section, key.name);
            let is_listed = loaded
                .resolved
                .iter()
                .any(|shown| shown.key.starts_with(&path));
            assert!(is_listed, "{path}");
        }
    }
}

#[test]
fn what_is_not_a_configuration_is_refused_with_its_place() {
    assert_eq!(
        text_of(b"[node]\nname = \"\xff\"", "a.toml")
            .expect_err("accepted")
            .to_string(),
        "a.toml:2:9: not UTF-8 text; save the file as UTF-8"
    );
    let long = vec![b' '; FILE_BYTES_MAX + 1];
    assert!(text_of(&long, "a.toml").is_err());
    let faults = parse("[node\nname = \n").expect_err("accepted");
    assert!(faults.to_string().starts_with("test.toml:1:"), "{faults}");
    let many: String = (0..500).map(|index| format!("x{index} = 1\n")).collect();
    assert_eq!(parse(&many).expect_err("accepted").faults.len(), FAULTS_MAX);
    let deep = format!("a = {}", "[".repeat(100_000));
    assert!(parse(&deep).is_err());
    let venues = "[[venue]]\n".repeat(33);
    let faults = parse(&venues).expect_err("accepted").to_string();
    assert!(faults.contains("more than 32 entries"), "{faults}");
}

/// Goal: no text makes the reader panic. Method: mutate the examples with a seeded generator.
#[test]
fn mutated_files_are_read_or_refused() {
    let mut random = Random::new(7);
    for _ in 0..2_000 {
        let mut bytes = if random.chance(500_000) { LP } else { NODE }
            .as_bytes()
            .to_vec();
        for _ in 0..random.between(1, 4) {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            match random.below(4) {
                0 => bytes[at] = b"\"[]{}=.,#\n09xA%"[usize::try_from(random.below(15)).unwrap()],
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, u8::try_from(random.below(256)).unwrap()),
            }
        }
        if let Ok(text) = text_of(&bytes, "mutated.toml") {
            drop(parse(text));
        }
    }
}
