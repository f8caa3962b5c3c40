//! Whether a report holds, from the file alone: signatures, ids, sums, the peer's word, light.
//!
//! What one end invents, the other end's signature contradicts: the peer attests how many probes
//! reached it and how fast its own round trips on the same link were. What both invent together
//! stops at light.

use crate::latency::histogram;
use crate::latency::physics;
use crate::latency::report::{Attested, Carrier, Header, Measured, Part, Report};
use crate::latency::sign;
use crate::latency::summary::Distribution;
use crate::model::key::{pin_of, signed};

/// How far below the peer's own fastest round trip the prober's may lie: half. Both ends see the
/// same link, so the fastest of each is alike; but the peer has fewer round trips to choose from
/// (fifty a second while the train runs), and what its machine adds is in them.
pub const FASTER_THAN_PEER_PER_CENT: u64 = 50;
/// What a busy machine may have added to every round trip of the peer's: 20 km of fibre.
const MACHINE_NS: u64 = 200_000;

/// One finding, in the order in which a reader would ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The path, or the prober where it concerns all of its paths.
    pub about: String,
    pub check: Check,
    pub grade: Grade,
    pub text: String,
}

/// What was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Signature,
    Prober,
    Sums,
    Attestation,
    Peer,
    Received,
    Speed,
    Light,
}

/// How it came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    Good,
    /// Nothing to check it with; it speaks neither for nor against the report.
    Unknown,
    Bad,
}

/// All findings of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Checks every part and path.
    pub fn of(report: &Report) -> Self {
        let mut findings = Vec::new();
        if report.paths().next().is_none() {
            let text = "the report has no path".to_owned();
            findings.push(finding("report", Check::Sums, Err(text)));
        }
        for part in &report.parts {
            let about = &part.claim.header.name;
            findings.push(finding(about, Check::Signature, signature(part)));
            for path in &part.claim.paths {
                findings.extend(of_path(path, &part.claim.header));
            }
        }
        Self { findings }
    }

    /// Tells whether nothing speaks against the report.
    pub fn is_good(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.grade != Grade::Bad)
    }
}

impl Check {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Prober => "prober",
            Self::Sums => "sums",
            Self::Attestation => "attestation",
            Self::Peer => "peer",
            Self::Received => "received",
            Self::Speed => "speed",
            Self::Light => "light",
        }
    }
}

impl Grade {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Bad => "BAD",
        }
    }
}

fn of_path(path: &Measured, header: &Header) -> Vec<Finding> {
    let about = path.name();
    let mut findings = vec![
        finding(&about, Check::Prober, prober(path, header)),
        finding(&about, Check::Sums, sums(path)),
    ];
    match (&path.attestation, path.over) {
        (Some(attested), Carrier::Mesh | Carrier::Udp | Carrier::Icmp) => {
            findings.push(finding(
                &about,
                Check::Attestation,
                attestation(path, attested),
            ));
            findings.push(finding(&about, Check::Peer, peer(path, attested)));
            findings.push(finding(&about, Check::Received, received(path, attested)));
            findings.push(speed(&about, path, attested));
        }
        (None, Carrier::Mesh) if path.counts.answered > 0 => {
            let text = "the peer has not signed; measure again with a peer that attests".to_owned();
            findings.push(finding(&about, Check::Attestation, Err(text)));
        }
        (None, Carrier::Mesh) => {
            let text = "nothing was answered, so there is nothing to attest";
            findings.push(unknown(&about, Check::Attestation, text));
        }
        (None, Carrier::Udp | Carrier::Icmp) => {
            let text = "no peer attests what was measured beside the mesh";
            findings.push(unknown(&about, Check::Attestation, text));
        }
    }
    findings.push(light(&about, path));
    findings
}

fn signature(part: &Part) -> Result<String, String> {
    let key = &part.claim.header.key.0;
    match signed(key, &sign::statement(&part.claim), &part.signature.0) {
        true => Ok(format!("signed by {}", pin_of(key).node_id())),
        false => Err("the prober's signature does not verify; something was changed".to_owned()),
    }
}

fn prober(path: &Measured, header: &Header) -> Result<String, String> {
    let signer = pin_of(&header.key.0).node_id();
    match signer == path.from.node {
        true => Ok("measured by who signed".to_owned()),
        false => Err(format!(
            "measured by {}, signed by {signer}: nobody signs for another",
            path.from.node
        )),
    }
}

/// Recomputes every figure that follows from others.
fn sums(path: &Measured) -> Result<String, String> {
    let counts = path.counts;
    let fates = [
        counts.answered,
        counts.lost,
        counts.refused,
        counts.contradicted,
    ];
    let sum = fates
        .iter()
        .try_fold(0_u64, |sum, &count| sum.checked_add(count));
    if sum != Some(counts.probes) {
        return Err("answered, lost, refused and contradicted do not add up to the probes".into());
    }
    if path.rtt.as_ref().map_or(0, |rtt| rtt.count) != counts.answered {
        return Err("the histogram does not hold as many probes as were answered".to_owned());
    }
    for (which, stated) in path.distributions() {
        let found =
            histogram::from_text(&stated.histogram).map_err(|error| format!("{which}: {error}"))?;
        let found = Distribution::of(&found).ok_or(format!("{which}: an empty histogram"))?;
        if found.figures() != stated.figures() {
            return Err(format!(
                "{which}: the figures are not those of the histogram (p50 {} ns is stated, {} ns is there)",
                stated.p50_ns, found.p50_ns
            ));
        }
    }
    outliers(path)?;
    Ok("figures and counts are those of the histograms".to_owned())
}

/// Checks that each outlier follows from its own moments and lies where it is said to.
fn outliers(path: &Measured) -> Result<(), String> {
    let (least, most) = path
        .rtt
        .as_ref()
        .map_or((0, 0), |rtt| (rtt.p50_ns, rtt.max_ns));
    for outlier in &path.outliers {
        let whole = outlier.heard_ns.checked_sub(outlier.sent_ns);
        let held = outlier.replied_ns.checked_sub(outlier.received_ns);
        let rtt = whole
            .zip(held)
            .and_then(|(whole, held)| whole.checked_sub(held));
        if rtt != Some(outlier.rtt_ns) || !(least..=most).contains(&outlier.rtt_ns) {
            return Err(format!(
                "outlier {} does not follow from its own moments or the histogram",
                outlier.number
            ));
        }
    }
    Ok(())
}

fn attestation(path: &Measured, attested: &Attested) -> Result<String, String> {
    if !signed(
        &attested.key.0,
        &sign::attested_statement(attested),
        &attested.signature.0,
    ) {
        return Err("the peer's signature does not verify; something was changed".to_owned());
    }
    if attested.train != path.train || attested.prober != path.from.node {
        return Err("the peer attests another train or another prober".to_owned());
    }
    Ok("signed by the peer, for this train and prober".to_owned())
}

fn peer(path: &Measured, attested: &Attested) -> Result<String, String> {
    let signer = pin_of(&attested.key.0).node_id();
    match signer == path.to.node {
        true => Ok("attested by who was measured".to_owned()),
        false => Err(format!(
            "{} was measured, but {signer} attests",
            path.to.node
        )),
    }
}

/// The peer cannot have got fewer probes than it answered, nor more than were sent.
fn received(path: &Measured, attested: &Attested) -> Result<String, String> {
    let counts = path.counts;
    let answered = counts.answered.saturating_add(counts.contradicted);
    let got = u64::from(attested.received);
    if !(answered..=counts.probes).contains(&got) {
        return Err(format!(
            "the peer received {got} probes, which is not between {answered} answered and {} sent",
            counts.probes
        ));
    }
    if attested.first_received_ns > attested.last_received_ns {
        return Err("the peer's first probe came after its last".to_owned());
    }
    Ok(format!(
        "{got} of {} probes reached the peer",
        counts.probes
    ))
}

fn speed(about: &str, path: &Measured, attested: &Attested) -> Finding {
    let Some(rtt) = path.rtt.as_ref().filter(|_| attested.rtt.count > 0) else {
        let text = "one of the ends has no round trip to compare";
        return unknown(about, Check::Speed, text);
    };
    let least = u128::from(attested.rtt_min_ns) * u128::from(FASTER_THAN_PEER_PER_CENT) / 100;
    let result = match u128::from(rtt.min_ns.saturating_add(MACHINE_NS)) >= least {
        true => Ok("no faster than the peer's own round trips allow".to_owned()),
        false => Err(format!(
            "the fastest round trip is {} ns, but the peer's own was {} ns on the same link",
            rtt.min_ns, attested.rtt_min_ns
        )),
    };
    finding(about, Check::Speed, result)
}

fn light(about: &str, path: &Measured) -> Finding {
    let Some(light) = physics::judge(path) else {
        let text = "a site has no location; name both to have this checked";
        return unknown(about, Check::Light, text);
    };
    let result = match light.fault {
        None => Ok(format!(
            "{} km apart, and slower than light",
            light.distance_m / 1_000
        )),
        Some(fault) => Err(format!(
            "{} ns is {} for {} km: {}",
            fault.delay_ns,
            fault.figure,
            light.distance_m / 1_000,
            fault.beyond
        )),
    };
    finding(about, Check::Light, result)
}

fn finding(about: &str, check: Check, result: Result<String, String>) -> Finding {
    let grade = match result {
        Ok(_) => Grade::Good,
        Err(_) => Grade::Bad,
    };
    let (Ok(text) | Err(text)) = result;
    Finding {
        about: about.to_owned(),
        check,
        grade,
        text,
    }
}

fn unknown(about: &str, check: Check, text: &str) -> Finding {
    Finding {
        about: about.to_owned(),
        check,
        grade: Grade::Unknown,
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::fixture::{attest, header, report, samples, signature, train};
    use crate::latency::report::Place;
    use crate::latency::summary::OneWay;
    use crate::latency::wire::Hex;
    use crate::model::time::Span;

    #[test]
    fn a_report_of_both_ends_is_good() {
        let verdict = Verdict::of(&honest());
        assert!(verdict.is_good(), "{verdict:#?}");
        let light = verdict.findings.last().unwrap();
        assert_eq!((light.check, light.grade), (Check::Light, Grade::Unknown));
    }

    #[test]
    fn a_changed_figure_breaks_the_signature_and_the_sums() {
        let mut report = honest();
        rtt(&mut report).p99_ns /= 2;
        assert_eq!(faults(&report), [Check::Signature, Check::Sums]);
    }

    #[test]
    fn a_prober_that_signs_its_own_lie_is_found_by_the_histogram() {
        let mut report = honest();
        rtt(&mut report).p50_ns /= 2;
        assert_eq!(faults(&sign_again(report)), [Check::Sums]);
    }

    #[test]
    fn a_forged_histogram_is_found_by_what_the_peer_measured() {
        let slow = attest(train(1, 2), 1, 2, Span::millis(20));
        let mut fast = slow.clone();
        fast.samples = samples(&[Some(Span::millis(5)); 1_000]);
        assert_eq!(faults(&report(&[fast])), [Check::Speed]);
    }

    #[test]
    fn a_forged_histogram_that_both_ends_agree_on_is_found_by_light() {
        let mut fast = attest(train(1, 2), 1, 2, Span::millis(5));
        fast.samples = samples(&[Some(Span::millis(5)); 1_000]);
        let mut report = report(&[fast]);
        let path = &mut report.parts[0].claim.paths[0];
        path.from.location = Some(place(50, 8));
        path.to.location = Some(place(40, -74));
        assert_eq!(faults(&sign_again(report)), [Check::Light]);
    }

    #[test]
    fn a_forged_attestation_is_found() {
        let mut report = honest();
        attested(&mut report).rtt_min_ns = 1;
        assert_eq!(faults(&sign_again(report)), [Check::Attestation]);
        let mut report = honest();
        let forged = attested(&mut report);
        forged.rtt_min_ns = 1;
        forged.key = Hex(crate::latency::fixture::public(3));
        forged.signature = Hex(signature(3, &sign::attested_statement(forged)));
        assert_eq!(faults(&sign_again(report)), [Check::Peer]);
        let other = attest(train(1, 2), 3, 2, Span::millis(20));
        assert_eq!(
            faults(&crate::latency::fixture::report(&[other])),
            [Check::Attestation]
        );
    }

    #[test]
    fn a_stripped_attestation_or_signature_is_found() {
        let mut report = honest();
        report.parts[0].claim.paths[0].attestation = None;
        assert_eq!(faults(&sign_again(report)), [Check::Attestation]);
        let mut report = honest();
        report.parts[0].signature = Hex([0; 64]);
        assert_eq!(faults(&report), [Check::Signature]);
    }

    #[test]
    fn loss_that_is_hidden_is_found_by_what_the_peer_received() {
        let mut hidden = attest(train(1, 2), 1, 2, Span::millis(20));
        hidden.samples.truncate(500);
        assert_eq!(faults(&report(&[hidden])), [Check::Received]);
    }

    #[test]
    fn nobody_signs_for_another() {
        let report = report(&[attest(train(3, 2), 3, 2, Span::millis(20))]);
        assert_eq!(faults(&report), [Check::Prober]);
        let theirs = attest(train(3, 2), 3, 2, Span::millis(20));
        let theirs = Report::new(header(3), &[theirs], |bytes| signature(3, bytes));
        let mut joined = honest();
        joined.join(theirs).unwrap();
        assert!(Verdict::of(&joined).is_good());
    }

    #[test]
    fn an_outlier_that_is_not_in_the_histogram_is_found() {
        let mut report = honest();
        report.parts[0].claim.paths[0].outliers[0].heard_ns += 1;
        assert_eq!(faults(&sign_again(report)), [Check::Sums]);
    }

    #[test]
    fn a_one_way_delay_below_light_is_found() {
        let mut report = honest();
        let path = &mut report.parts[0].claim.paths[0];
        path.from.location = Some(place(50, 8));
        path.to.location = Some(place(51, 0));
        assert!(matches!(path.forward, OneWay::Known { .. }));
        assert_eq!(faults(&sign_again(report.clone())), []);
        let path = &mut report.parts[0].claim.paths[0];
        path.forward = crate::latency::fixture::one_way(Span::micros(900), Span::micros(100));
        assert_eq!(faults(&sign_again(report)), [Check::Light]);
    }

    fn honest() -> Report {
        report(&[attest(train(1, 2), 1, 2, Span::millis(20))])
    }

    fn rtt(report: &mut Report) -> &mut Distribution {
        report.parts[0].claim.paths[0].rtt.as_mut().unwrap()
    }

    fn attested(report: &mut Report) -> &mut Attested {
        report.parts[0].claim.paths[0].attestation.as_mut().unwrap()
    }

    fn sign_again(mut report: Report) -> Report {
        let part = &mut report.parts[0];
        part.signature = Hex(signature(1, &sign::statement(&part.claim)));
        report
    }

    fn place(latitude: i32, longitude: i32) -> Place {
        Place {
            latitude_udeg: latitude * 1_000_000,
            longitude_udeg: longitude * 1_000_000,
        }
    }

    #[track_caller]
    fn faults(report: &Report) -> Vec<Check> {
        let findings = Verdict::of(report).findings.into_iter();
        let bad = findings.filter(|finding| finding.grade == Grade::Bad);
        bad.map(|finding| finding.check).collect()
    }
}
