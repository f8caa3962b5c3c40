//! A report: what one or more nodes measured, in figures that a reader can check off-line.
//!
//! ```text
//! Report ─┬─ Part (one prober, its signature) ─┬─ Header, self line
//!         │                                    └─ Measured (one train): figures, histograms, outliers
//!         └─ Part of another prober, where a mesh was measured
//! ```
//! As a file it is JSON with stable names, strictly read: unknown fields are refused, every list and
//! text has its limit. Moments are nanoseconds since 1970 on the clock of whoever saw them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::latency::histogram::{self, HistogramError};
pub use crate::latency::measured::{
    Ahead, Attested, Carrier, LostProbe, Measured, Outlier, Place, Site, Spacing, TransportCount,
};
use crate::latency::sign;
use crate::latency::summary::{Figures, Summary};
use crate::latency::train::{Over, SelfLine, TimestampSource, Train};
use crate::latency::wire::Hex;
use crate::model::time::Time;

/// What stands in `format`.
pub const FORMAT: &str = "expressnet-latency";
/// The version that this program writes, and the only one it reads.
pub const VERSION: u32 = 1;
/// Bytes of a report's file; a longer one is refused.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Probers of one report; [`Report::join`] refuses more.
pub const PARTS_MAX: usize = 256;
/// Trains of one prober; further ones are left off and counted.
pub const TRAINS_MAX: usize = 1_024;
/// Outliers kept of one train: the slowest. The others are counted.
pub const OUTLIERS_MAX: usize = 1_000;
/// Lost probes kept one by one: the first. All are counted.
pub const LOST_MAX: usize = 1_000;
/// Counts of the transport kept: those that tell of a change; of more, the first.
pub const COUNTS_MAX: usize = 4_096;
/// Bytes of a site's name.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of any other text; [`Report::new`] cuts longer ones.
pub const TEXT_BYTES_MAX: usize = 256;

/// Measurements of one or more probers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub format: String,
    pub version: u32,
    pub parts: Vec<Part>,
}

/// What one prober says, with its signature over [`sign::statement`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub claim: Claim,
    pub signature: Hex<64>,
}

/// What a prober signs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub header: Header,
    pub own: OwnLine,
    pub paths: Vec<Measured>,
    /// Trains beyond [`TRAINS_MAX`].
    pub left_off: u64,
}

/// Who measured, when, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The prober's node key; its id follows from it.
    pub key: Hex<32>,
    pub name: String,
    pub started_ns: u64,
    /// Program and version, such as `expressnet 0.1.0`.
    pub program: String,
    pub kernel: String,
    /// What the system says of its clock.
    pub clock: String,
    /// Hash of the configuration, or empty where there is none.
    pub configuration: String,
}

/// The measuring tool measured: the worst of all trains of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnLine {
    /// Round trips of the machine with itself.
    pub loopback: Option<Figures>,
    /// How late the pacing thread woke.
    pub timer_late: Figures,
    /// How late probes left, from the samples: sent less intended.
    pub sent_late: Figures,
    /// `kernel`, or `user` where any train had to use that.
    pub timestamps: String,
    /// The widest bound of an offset to a peer's clock; `None` where any peer's is unknown.
    pub clock_bound_ns: Option<u64>,
}

/// Why bytes are no report.
#[derive(Debug, Error)]
pub enum ReportError {
    #[error("the report is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    #[error("this is no report")]
    Json(#[from] serde_json::Error),
    #[error("`{0}` is not the format of a latency report, which is `{FORMAT}`")]
    Format(String),
    #[error("version {0} of the report is not known here; this program reads {VERSION}")]
    Version(u32),
    #[error("the report has more {what} than {max}")]
    Many { what: &'static str, max: usize },
    #[error(
        "a text in `{0}` is too long or holds a character that is not printed; write it without"
    )]
    Text(&'static str),
    #[error("the location of {0} is not on earth; latitude is -90 to 90, longitude -180 to 180")]
    Location(String),
    #[error("{path}: {error}")]
    Histogram { path: String, error: HistogramError },
}

impl Report {
    /// Makes a report of what this node measured; `sign` is the node's key over the bytes it is
    /// handed. Texts and lists beyond their limits are cut, as the constants above say.
    pub fn new(header: Header, trains: &[Train], sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let taken = &trains[..trains.len().min(TRAINS_MAX)];
        let summaries: Vec<Summary> = taken.iter().map(Summary::of).collect();
        let paths = taken
            .iter()
            .zip(&summaries)
            .map(|(train, summary)| Measured::of(train, summary))
            .collect();
        let claim = Claim {
            header: header.cut(),
            own: OwnLine::of(taken, &summaries),
            paths,
            left_off: count(trains.len() - taken.len()),
        };
        let signature = Hex(sign(&sign::statement(&claim)));
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            parts: vec![Part { claim, signature }],
        }
    }

    /// Adds what other probers measured; each part keeps its own signature.
    ///
    /// # Errors
    /// [`ReportError::Many`] beyond [`PARTS_MAX`]; nothing is added then.
    pub fn join(&mut self, other: Self) -> Result<(), ReportError> {
        within("parts", self.parts.len() + other.parts.len(), PARTS_MAX)?;
        self.parts.extend(other.parts);
        Ok(())
    }

    /// Reads a report, strictly. Whether it is true is for `verify` to say.
    ///
    /// # Errors
    /// [`ReportError`]: what does not read, and what is beyond a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReportError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(ReportError::TooLong);
        }
        let report: Self = serde_json::from_slice(bytes)?;
        if report.format != FORMAT {
            return Err(ReportError::Format(clean(&report.format)));
        }
        if report.version != VERSION {
            return Err(ReportError::Version(report.version));
        }
        within("parts", report.parts.len(), PARTS_MAX)?;
        for part in &report.parts {
            part.claim.check()?;
        }
        Ok(report)
    }

    /// Writes the JSON of a file.
    ///
    /// # Errors
    /// None that these types can meet.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Yields every path of every part.
    pub fn paths(&self) -> impl Iterator<Item = &Measured> {
        self.parts.iter().flat_map(|part| &part.claim.paths)
    }
}

impl Claim {
    fn check(&self) -> Result<(), ReportError> {
        within("trains", self.paths.len(), TRAINS_MAX)?;
        let header = &self.header;
        text("header.name", &header.name, NAME_BYTES_MAX)?;
        text("header.program", &header.program, TEXT_BYTES_MAX)?;
        text("header.kernel", &header.kernel, TEXT_BYTES_MAX)?;
        text("header.clock", &header.clock, TEXT_BYTES_MAX)?;
        text(
            "header.configuration",
            &header.configuration,
            TEXT_BYTES_MAX,
        )?;
        text("own.timestamps", &self.own.timestamps, TEXT_BYTES_MAX)?;
        self.paths.iter().try_for_each(Measured::check)
    }
}

impl Header {
    /// When the measurement began.
    pub const fn started(&self) -> Time {
        Time(self.started_ns)
    }

    fn cut(self) -> Self {
        Self {
            key: self.key,
            name: cut(&self.name, NAME_BYTES_MAX),
            started_ns: self.started_ns,
            program: cut(&self.program, TEXT_BYTES_MAX),
            kernel: cut(&self.kernel, TEXT_BYTES_MAX),
            clock: cut(&self.clock, TEXT_BYTES_MAX),
            configuration: cut(&self.configuration, TEXT_BYTES_MAX),
        }
    }
}

impl OwnLine {
    fn of(trains: &[Train], summaries: &[Summary]) -> Self {
        let mut late = histogram::empty();
        for summary in summaries {
            // Both have the same bounds, so one always fits into the other.
            late.add(&summary.late).unwrap_or_default();
        }
        let own = || trains.iter().map(|train| &train.own);
        let worst = |figures: &mut dyn Iterator<Item = Figures>| {
            figures.max_by_key(|figures| (figures.p99_ns, figures.max_ns))
        };
        let kernel = own().all(|own: &SelfLine| own.timestamps == TimestampSource::Kernel);
        let source = if kernel && !trains.is_empty() {
            "kernel"
        } else {
            "user"
        };
        // What is measured beside the mesh often knows no clock; the mesh's is then what counts.
        let is_mesh = |train: &&Train| train.over == Over::Mesh;
        let has_mesh = trains.iter().any(|train| is_mesh(&train));
        let bounds: Option<Vec<u64>> = trains
            .iter()
            .filter(|train| !has_mesh || is_mesh(train))
            .map(|train| train.clock.map(|clock| clock.bound.0))
            .collect();
        Self {
            loopback: worst(&mut own().filter_map(|own| own.loopback).map(Figures::from)),
            timer_late: worst(&mut own().map(|own| Figures::from(own.timer_late)))
                .unwrap_or_default(),
            sent_late: Figures::of(&late),
            timestamps: source.to_owned(),
            clock_bound_ns: bounds.and_then(|bounds| bounds.into_iter().max()),
        }
    }
}

pub(crate) fn within(what: &'static str, found: usize, max: usize) -> Result<(), ReportError> {
    match found <= max {
        true => Ok(()),
        false => Err(ReportError::Many { what, max }),
    }
}

pub(crate) fn text(what: &'static str, text: &str, bytes_max: usize) -> Result<(), ReportError> {
    match text.len() <= bytes_max && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(ReportError::Text(what)),
    }
}

/// Cuts a text to so many bytes and drops what would not be printed.
pub(crate) fn cut(text: &str, bytes_max: usize) -> String {
    let mut kept = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if kept.len() + letter.len_utf8() > bytes_max {
            break;
        }
        kept.push(letter);
    }
    kept
}

fn clean(text: &str) -> String {
    cut(text, NAME_BYTES_MAX)
}

pub(crate) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture::{header, report, samples, train};
    use crate::model::time::Span;

    #[test]
    fn what_is_written_reads_back_and_needs_every_field() {
        let report = report(&[train(1, 2), train(1, 3)]);
        let text = report.to_json().unwrap();
        assert_eq!(Report::parse(text.as_bytes()).unwrap(), report);
        let unknown = text.replacen("\"version\"", "\"colour\": 1, \"version\"", 1);
        assert!(matches!(
            Report::parse(unknown.as_bytes()),
            Err(ReportError::Json(_))
        ));
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        assert!(matches!(
            Report::parse(newer.as_bytes()),
            Err(ReportError::Version(2))
        ));
    }

    #[test]
    fn damaged_reports_are_refused_and_never_panic() {
        let mut train = train(1, 2);
        train.samples.truncate(20);
        let text = report(&[train]).to_json().unwrap();
        for at in 0..text.len() - 2 {
            if text.is_char_boundary(at) {
                assert!(Report::parse(&text.as_bytes()[..at]).is_err(), "{at}");
            }
        }
        let many = text.replace("\"count\": 20", "\"count\": 18446744073709551615");
        drop(crate::latency::verify::Verdict::of(
            &Report::parse(many.as_bytes()).unwrap(),
        ));
    }

    #[test]
    fn names_that_would_write_on_a_terminal_are_refused() {
        let mut report = report(&[train(1, 2)]);
        report.parts[0].claim.paths[0].to.name = "a\u{1b}[2J".to_owned();
        let text = report.to_json().unwrap();
        assert!(matches!(
            Report::parse(text.as_bytes()),
            Err(ReportError::Text("name"))
        ));
        let mut head = header(1);
        head.kernel = "Linux\n6.1 ".to_owned() + &"x".repeat(400);
        let report = Report::new(head, &[], |_| [0; 64]);
        let kernel = &report.parts[0].claim.header.kernel;
        assert!(kernel.starts_with("Linux6.1") && kernel.len() == TEXT_BYTES_MAX);
    }

    #[test]
    fn lists_beyond_their_limits_are_refused_or_cut() {
        let mut report = report(&[train(1, 2)]);
        let paths = &mut report.parts[0].claim.paths;
        paths[0].lost = vec![
            LostProbe {
                number: 0,
                intended_ns: 0,
                sent_ns: 0
            };
            LOST_MAX + 1
        ];
        let text = report.to_json().unwrap();
        assert!(matches!(
            Report::parse(text.as_bytes()),
            Err(ReportError::Many { .. })
        ));
        let mut short = train(1, 2);
        short.samples.truncate(1);
        let many = vec![short; TRAINS_MAX + 3];
        let claim = &crate::latency::fixture::report(&many).parts[0].claim;
        assert_eq!((claim.paths.len(), claim.left_off), (TRAINS_MAX, 3));
    }

    #[test]
    fn outliers_are_the_slowest_with_their_neighbours() {
        let mut rtts: Vec<_> = (0..1_000)
            .map(|step| Some(Span::micros(20_000 + step)))
            .collect();
        rtts[400] = Some(Span::millis(90));
        rtts[399] = None;
        let mut train = train(1, 2);
        train.samples = samples(&rtts);
        let report = report(&[train]);
        let path = &report.parts[0].claim.paths[0];
        let slowest = path
            .outliers
            .iter()
            .find(|outlier| outlier.number == 400)
            .unwrap();
        assert_eq!(slowest.rtt_ns, 90_000_000);
        assert_eq!(
            (slowest.before_ns, slowest.after_ns),
            (None, Some(20_401_000))
        );
        assert!(path.outliers.len() < 20, "{}", path.outliers.len());
        assert_eq!(path.lost.len(), 1);
    }

    #[test]
    fn the_self_line_is_the_worst_of_all_trains() {
        let (good, mut bad) = (train(1, 2), train(1, 3));
        bad.own.timer_late.p99 = Span::MILLI;
        bad.own.timestamps = TimestampSource::User;
        let own = report(&[good.clone(), bad.clone()]).parts[0]
            .claim
            .own
            .clone();
        assert_eq!(own.timer_late.p99_ns, 1_000_000);
        assert_eq!(own.timestamps, "user");
        assert_eq!(own.clock_bound_ns, Some(400_000));
        assert_eq!(own.sent_late.count, 2_000);
        bad.clock = None;
        assert_eq!(report(&[good, bad]).parts[0].claim.own.clock_bound_ns, None);
    }
}
