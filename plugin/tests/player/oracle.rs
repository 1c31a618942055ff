//! Where the rule puts every note, counted from the song's start.

use std::collections::BTreeMap;

use famam_plugin::clip::Clip;

/// What goes on between two discontinuities, as the oracle sees it.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Sample, with its fraction, at which the song position `position` (quarters) is heard.
    pub sample: f64,
    pub position: f64,
    /// The samples of the run, in host time.
    pub from: i64,
    pub to: i64,
    /// Where the song ends in it: a loop's end.
    pub limit: f64,
}

/// Offs, ons and programs of a sample.
pub type Sample = (Vec<(u8, u8)>, Vec<(u8, u8, u8)>, Vec<(u8, u8)>);
pub type Heard = BTreeMap<i64, Sample>;

/// The notes of `clip` in `run`, by the absolute rule; adds to `heard`.
pub fn expect(heard: &mut Heard, clip: &Clip, run: Run, samples_per_quarter: f64) {
    expect_versions(heard, &[(i64::MIN, clip)], run, samples_per_quarter);
}

/// The same where longer versions of a clip enter, each on its sample.
pub fn expect_versions(
    heard: &mut Heard,
    versions: &[(i64, &Clip)],
    run: Run,
    samples_per_quarter: f64,
) {
    let at = |quarters: f64| {
        (run.sample + (quarters - run.position) * samples_per_quarter + 0.49).floor() as i64
    };
    let mut ons: Vec<(i64, u8, u8, i64, u8)> = Vec::new();
    let until = run.position + (run.to - run.from + 2) as f64 / samples_per_quarter;
    let ends = versions.iter().skip(1).map(|version| version.0);
    for (&(enters, clip), leaves) in versions.iter().zip(ends.chain([i64::MAX])) {
        let length = clip.length().quarters();
        let (from, to) = (run.from.max(enters), run.to.min(leaves));
        let first = (run.position / length).floor() as i64 - 1;
        for cycle in first..=(until.min(run.limit) / length).floor() as i64 {
            for note in &clip.notes {
                let start = cycle as f64 * length + note.start.quarters();
                let sample = at(start);
                if sample < from || sample >= to || start >= run.limit {
                    continue;
                }
                let end = at(start + note.duration.quarters()).max(sample + 1);
                let channel = clip.parts[usize::from(note.part)].channel;
                ons.push((sample, channel, note.pitch, end, note.velocity));
            }
        }
    }
    ons.sort();
    for (i, &(sample, channel, pitch, end, velocity)) in ons.iter().enumerate() {
        let same = |on: &&(i64, u8, u8, i64, u8)| (on.1, on.2) == (channel, pitch);
        if ons[..i].iter().any(|on| same(&on) && on.0 == sample) {
            continue;
        }
        let end = ons[i..]
            .iter()
            .filter(|on| same(on) && on.0 == sample)
            .map(|on| on.3)
            .max()
            .unwrap_or(end);
        let again = ons[i..]
            .iter()
            .filter(same)
            .find(|on| on.0 > sample)
            .map_or(i64::MAX, |on| on.0);
        heard
            .entry(sample)
            .or_default()
            .1
            .push((channel, pitch, velocity));
        heard
            .entry(end.min(again).min(run.to))
            .or_default()
            .0
            .push((channel, pitch));
    }
}

/// The programs of a clip's parts, on the sample on which they are due; adds to `heard`.
pub fn expect_programs(heard: &mut Heard, clip: &Clip, sample: i64) {
    let mut programs: Vec<(u8, u8)> = Vec::new();
    for part in &clip.parts {
        let first = programs.iter().all(|program| program.0 != part.channel);
        if first && !part.instrument.is_drums() {
            programs.push((part.channel, part.instrument.index()));
        }
    }
    if !programs.is_empty() {
        heard.entry(sample).or_default().2 = programs;
    }
}

pub fn normal(mut heard: Heard) -> Heard {
    for (offs, ons, programs) in heard.values_mut() {
        programs.sort_unstable();
        offs.sort_unstable();
        // Of notes struck on one sample any one's velocity is right.
        ons.sort_unstable();
    }
    heard
}
