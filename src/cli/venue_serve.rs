//! `expressnet venue serve`: a venue to rehearse against.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde::Serialize;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::{CliError, Exit};
use crate::model::currency::Currency;
use crate::model::instrument::Pair;
use crate::model::number::{Price, Quantity};
use crate::model::time::{Span, Time};
use crate::shell::clock::Clock;
use crate::shell::ticks::read_ticks;
use crate::shell::venue_server::serve;
use crate::venue::Credentials;
use crate::venue::history::{ReplaySettings, pair_of_file_name};
use crate::venue::registry;
use crate::venue::serving::fault::Fault;
use crate::venue::serving::market::Source;
use crate::venue::serving::{AccountSettings, Audit, ServerSettings};

/// Serves a venue of one dialect until interrupted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Dialect to speak.
    #[arg(default_value = "simulated")]
    pub dialect: String,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Tick file to replay (`unixtime,price,amount`, plain or gzip).
    #[arg(long, value_name = "FILE", conflicts_with = "price")]
    pub ticks: Option<PathBuf>,
    /// Pair to trade; without it, BTC in the currency the tick file is named for.
    #[arg(long)]
    pub pair: Option<Pair>,
    /// Customer: KEY:SECRET:BTC=100,USD=5000, with `:withdraw` behind it for a key that may.
    #[arg(long = "account", value_name = "ACCOUNT")]
    pub accounts: Vec<AccountArg>,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Named habits of the venue at one time, such as `mtgox-2013`; what they are is modelled, not
    /// recorded. An unknown name lists those there are.
    #[arg(long)]
    pub personality: Option<String>,
    /// Fault to have, with its rate in parts per million (20000 where none is given).
    #[arg(long = "fault", value_name = "NAME[=PPM]")]
    pub faults: Vec<FaultArg>,
    /// Seconds of the history replayed in one second.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub speed: u32,
    /// Moment of the history to begin at, in seconds since 1970; its first tick without it.
    #[arg(long, value_name = "UNIX_S", requires = "ticks")]
    pub origin: Option<u64>,
    /// When that moment is replayed, in milliseconds since 1970; at once without it. Histories
    /// that are to run together take equal values of both.
    #[arg(long, value_name = "UNIX_MS", requires = "ticks")]
    pub started: Option<u64>,
    /// Price that the seeded flow walks around; 100 without it.
    #[arg(long)]
    pub price: Option<Price>,
    /// Smallest step of a price; the dialect's own without it.
    #[arg(long)]
    pub tick: Option<Price>,
    /// Fee of the order that takes; the dialect's own without it.
    #[arg(long)]
    pub taker_fee_ppm: Option<u32>,
}

/// A customer as the command line names it. Its secret does not print.
#[derive(Clone, Debug)]
pub struct AccountArg(AccountSettings);

/// A fault as the command line names it.
#[derive(Clone, Copy, Debug)]
pub struct FaultArg(Fault, u32);

/// Examples in the help of `venue serve`.
pub const EXAMPLES: &str = "Examples:\n  expressnet venue serve --listen 127.0.0.1:7501 \
--account key:secret:BTC=10,USD=5000\n  expressnet venue serve mtgox --ticks mtgoxSEK.csv.gz --speed 3600 \
--account f81d4fae-7dec-11d0-a765-00a0c91e6bf6:c2VjcmV0:BTC=10,SEK=5000\n  expressnet venue serve btce \
--fault errors=50000 --fault lost-replies --account key:secret:BTC=10,USD=5000";

/// The last line on stdout: what the venue's own books say.
#[derive(Debug, Serialize)]
struct Books {
    duplicates: u64,
    imbalance: Option<String>,
    accounts: Vec<AccountBooks>,
}

#[derive(Debug, Serialize)]
struct AccountBooks {
    key: String,
    orders: usize,
    orders_filled: usize,
    /// Free and held together.
    balances: BTreeMap<String, String>,
    /// What open orders hold; empty where none rests.
    held: BTreeMap<String, String>,
}

/// The first line on stdout: where the venue listens.
#[derive(Debug, Serialize)]
struct Endpoints {
    venue: &'static str,
    http: String,
    /// For dialects that have a stream.
    ws: Option<String>,
    /// Where the handshake of socket.io is, for dialects that speak it.
    socketio: Option<String>,
}

impl Books {
    fn of(audit: &Audit) -> Self {
        let accounts = audit.accounts.iter().map(|account| AccountBooks {
            key: account.key.clone(),
            orders: account.orders.len(),
            orders_filled: account
                .orders
                .iter()
                .filter(|order| order.filled.quantity.is_positive())
                .count(),
            balances: account
                .balances
                .iter()
                .map(|(currency, free, held)| {
                    let sum = free.saturating_add(*held);
                    (currency.to_string(), sum.to_string())
                })
                .collect(),
            held: account
                .balances
                .iter()
                .filter(|(_, _, held)| !held.is_zero())
                .map(|(currency, _, held)| (currency.to_string(), held.to_string()))
                .collect(),
        });
        Self {
            duplicates: audit.duplicates,
            imbalance: audit.imbalance.map(|currency| currency.to_string()),
            accounts: accounts.collect(),
        }
    }
}

impl FromStr for AccountArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut fields = text.split(':');
        let (Some(key), Some(secret)) = (fields.next(), fields.next()) else {
            bail!("an account is KEY:SECRET:BTC=100,USD=5000");
        };
        if key.is_empty() || secret.is_empty() {
            bail!("key and secret of an account may not be empty");
        }
        let mut balances = Vec::new();
        for part in fields
            .next()
            .unwrap_or_default()
            .split(',')
            .filter(|part| !part.is_empty())
        {
            let (currency, amount) = part.split_once('=').context("a balance is BTC=100")?;
            let currency: Currency = currency.parse()?;
            let amount: Quantity = amount.parse()?;
            balances.push((currency, amount));
        }
        let may_withdraw = match (fields.next(), fields.next()) {
            (None, None) => false,
            (Some("withdraw"), None) => true,
            _ => bail!("only `withdraw` may stand behind the balances"),
        };
        Ok(Self(AccountSettings {
            credentials: Credentials {
                key: key.to_owned(),
                secret: secret.to_owned(),
            },
            balances,
            may_withdraw,
        }))
    }
}

impl FromStr for FaultArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some((name, ppm)) = text.split_once('=') else {
            return Ok(Self(text.parse()?, Fault::PPM_DEFAULT));
        };
        let ppm: u32 = ppm
            .parse()
            .context("a rate is a number of parts per million")?;
        if ppm > 1_000_000 {
            bail!("a rate is at most 1000000 parts per million");
        }
        Ok(Self(name.parse()?, ppm))
    }
}

/// Serves until interrupted; the first line on stdout says where, the last one what the venue's
/// books hold, both as JSON.
///
/// # Errors
/// Whatever keeps the venue from being served.
pub fn run(args: &Args) -> Result<Exit, CliError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be made")?;
    runtime.block_on(serve_until_told(args))?;
    Ok(Exit::Done)
}

async fn serve_until_told(args: &Args) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let dialect = registry::find(&args.dialect).context("no such dialect")?;
    let server = dialect.server(settings_of(args)?)?;
    let served = serve(args.listen, server, Clock::start())
        .await
        .context("cannot listen")?;
    let address = served.address();
    let paths = dialect.card().paths;
    print(&Endpoints {
        venue: dialect.name(),
        http: format!("http://{address}"),
        ws: paths.ws.map(|path| format!("ws://{address}{path}")),
        socketio: paths.socketio.map(|path| format!("http://{address}{path}")),
    })?;
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
    if let Some(audit) = served.audit().await {
        print(&Books::of(&audit))?;
    }
    Ok(())
}

/// Prints one line and lets it out at once: whoever started the venue waits for it.
fn print(value: &impl Serialize) -> anyhow::Result<()> {
    let line = serde_json::to_string(value)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()?;
    Ok(())
}

fn settings_of(args: &Args) -> anyhow::Result<ServerSettings> {
    let dialect = registry::find(&args.dialect).context("no such dialect")?;
    let card = dialect.card();
    for FaultArg(fault, _) in &args.faults {
        if !card.faults.contains(fault) {
            bail!(
                "{} has no fault `{}`; it has {}",
                args.dialect,
                fault.name(),
                names_of(card.faults)
            );
        }
    }
    let market = match &args.ticks {
        Some(file) => {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let pair = args.pair.or_else(|| pair_of_file_name(name));
            let pair = pair.with_context(|| format!("`{name}` names no currency; give --pair"))?;
            let ticks = read_ticks(file).with_context(|| format!("{}", file.display()))?;
            let first = ticks.first().map_or(0, |tick| tick.unix_s);
            let mut settings = ReplaySettings::new(args.origin.unwrap_or(first), args.speed);
            settings.started = args
                .started
                .map(|millis| Time::ZERO + Span::MILLI.times(millis));
            (pair, Source::History { ticks, settings })
        }
        None => {
            let pair = args.pair.unwrap_or(Pair {
                base: Currency::BTC,
                quote: Currency::USD,
            });
            let price = args.price.unwrap_or(Price::whole(100));
            (pair, Source::Flow { price })
        }
    };
    let mut rules = dialect.rules(market.0);
    rules.tick = args.tick.unwrap_or(rules.tick);
    rules.taker_fee_ppm = args.taker_fee_ppm.unwrap_or(rules.taker_fee_ppm);
    Ok(ServerSettings {
        rules,
        maker_fee_ppm: rules.taker_fee_ppm,
        markets: vec![market],
        accounts: args
            .accounts
            .iter()
            .map(|account| account.0.clone())
            .collect(),
        seed: args.seed,
        faults: args.faults.iter().map(|fault| (fault.0, fault.1)).collect(),
        requests_per_s: card.requests_per_s,
        personality: args.personality.clone(),
    })
}

fn names_of(faults: &[Fault]) -> String {
    let names: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn an_account_names_key_secret_balances_and_rights() {
        let account: AccountArg = "k:s:BTC=100,USD=5000.5:withdraw".parse().unwrap();
        assert_eq!(account.0.balances.len(), 2);
        assert!(account.0.may_withdraw);
        assert!(!format!("{account:?}").contains("\"s\""));
        for text in [
            "k",
            ":s:",
            "k:s:BTC",
            "k:s:BTC=x",
            "k:s:BTC=1:all",
            "k:s::withdraw:x",
        ] {
            assert!(text.parse::<AccountArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fault_has_a_rate() {
        let fault: FaultArg = "lag=5".parse().unwrap();
        assert_eq!((fault.0, fault.1), (Fault::Lag, 5));
        let usual: FaultArg = "slow-cancel".parse().unwrap();
        assert_eq!(usual.1, Fault::PPM_DEFAULT);
        for text in ["fire", "lag=x", "lag=1000001"] {
            assert!(text.parse::<FaultArg>().is_err(), "{text}");
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_whole_command_line_is_understood() {
        let text = "serve simulated --listen 127.0.0.1:0 --account k:s:USD=5 --seed 7 \
                    --fault lag=9 --fault errors --price 100.5 --pair BTC/EUR --tick 0.1";
        let line = Line::parse_from(text.split_whitespace());
        let settings = settings_of(&line.args).unwrap();
        assert_eq!(
            settings.faults,
            vec![(Fault::Lag, 9), (Fault::Errors, 20_000)]
        );
        assert_eq!(settings.markets[0].0.to_string(), "BTC/EUR");
        assert_eq!(settings.rules.tick, Price(10_000_000));
        assert!(Line::try_parse_from(["serve", "--ticks", "f", "--price", "1"]).is_err());
        let missing = Line::parse_from(["serve", "--ticks", "no/mtgoxUSD.csv"]);
        assert!(settings_of(&missing.args).is_err());
    }
}
