//! The player against an oracle that knows nothing of blocks: it puts every note of every
//! repetition on the sample that the rule gives from the song's start.

use std::collections::BTreeMap;
use std::sync::Arc;

use famam_plugin::clip::{Clip, Origin};
use famam_plugin::player::{Event, EventKind, Player, Playhead, Settings, Transport};
use famam_shared::instrument::Instrument;
use famam_shared::score::{Metre, Note, Ticks};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What goes on between two discontinuities, as the oracle sees it.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Sample, with its fraction, at which the song position `position` (quarters) is heard.
    sample: f64,
    position: f64,
    /// The samples of the run, in host time.
    from: i64,
    to: i64,
    /// Where the song ends in it: a loop's end.
    limit: f64,
}

type Heard = BTreeMap<i64, (Vec<(u8, u8)>, Vec<(u8, u8, u8)>)>;

/// The notes of `clip` in `run`, by the absolute rule; adds to `heard`.
fn expect(heard: &mut Heard, clip: &Clip, run: Run, samples_per_quarter: f64) {
    let length = clip.length().quarters();
    let at = |quarters: f64| {
        (run.sample + (quarters - run.position) * samples_per_quarter + 0.49).floor() as i64
    };
    let mut ons: Vec<(i64, u8, u8, i64, u8)> = Vec::new();
    let first = (run.position / length).floor() as i64 - 1;
    let until = run.position + (run.to - run.from + 2) as f64 / samples_per_quarter;
    for cycle in first..=(until.min(run.limit) / length).floor() as i64 {
        for note in &clip.notes {
            let start = cycle as f64 * length + note.start.quarters();
            let sample = at(start);
            if sample < run.from || sample >= run.to || start >= run.limit {
                continue;
            }
            let end = at(start + note.duration.quarters()).max(sample + 1);
            let channel = clip.parts[usize::from(note.part)].channel;
            ons.push((sample, channel, note.pitch, end, note.velocity));
        }
    }
    ons.sort();
    for (i, &(sample, channel, pitch, end, velocity)) in ons.iter().enumerate() {
        let same = |on: &&(i64, u8, u8, i64, u8)| (on.1, on.2) == (channel, pitch);
        if ons[..i].iter().any(|on| same(&on) && on.0 == sample) {
            continue;
        }
        let end = ons[i..].iter().filter(|on| same(on) && on.0 == sample).map(|on| on.3).max().unwrap_or(end);
        let again = ons[i..].iter().filter(same).find(|on| on.0 > sample).map_or(i64::MAX, |on| on.0);
        heard.entry(sample).or_default().1.push((channel, pitch, velocity));
        heard.entry(end.min(again).min(run.to)).or_default().0.push((channel, pitch));
    }
}

fn normal(mut heard: Heard) -> Heard {
    for (offs, ons) in heard.values_mut() {
        offs.sort_unstable();
        // Of notes struck on one sample any one's velocity is right.
        ons.sort_unstable();
    }
    heard
}

fn random_clip(rng: &mut ChaCha8Rng, id: u64) -> Arc<Clip> {
    let metres = [(4, 4), (3, 4), (7, 8), (6, 8)];
    let (numerator, denominator) = metres[rng.random_range(0..metres.len())];
    let metre = Metre { at: Ticks(0), numerator, denominator };
    let bars = rng.random_range(1..=6);
    // Positions on sixteenths and twelfths, a few of them thick with equal pitches.
    let grid = if rng.random_bool(0.5) { 240 } else { 80 };
    let music: Vec<_> = (0..bars)
        .map(|_| {
            (0..rng.random_range(0..24))
                .map(|_| {
                    let who = [0, 25, 33, 48, 128][rng.random_range(0..5)];
                    let note = Note {
                        start: Ticks(rng.random_range(0..metre.bar().0 / grid) * grid),
                        pitch: rng.random_range(36..48),
                        duration: Ticks(rng.random_range(1..=3840 / grid) * grid),
                        velocity: 90,
                    };
                    (Instrument::new(who).unwrap(), note)
                })
                .collect()
        })
        .collect();
    Arc::new(Clip::from_bars(id, bars, metre, 500_000, Origin::default(), &music))
}

struct Host {
    player: Player,
    clips: rtrb::Producer<Arc<Clip>>,
    _old: rtrb::Consumer<Arc<Clip>>,
    now: i64,
    heard: Heard,
    sounding: std::collections::HashSet<(u8, u8)>,
}

impl Host {
    fn new() -> Self {
        let (clips, incoming) = rtrb::RingBuffer::new(16);
        let (outgoing, _old) = rtrb::RingBuffer::new(64);
        let player = Player::new(incoming, outgoing, Arc::new(Playhead::default()));
        Self { player, clips, _old, now: 0, heard: Heard::new(), sounding: Default::default() }
    }

    fn block(&mut self, transport: &Transport, frames: u32, settings: Settings) {
        let (now, heard, sounding) = (self.now, &mut self.heard, &mut self.sounding);
        let mut last = (0, 0);
        self.player.process(transport, frames, settings, false, &mut |event| {
            let Event { sample, channel, kind } = event;
            let at = heard.entry(now + i64::from(sample)).or_default();
            let rank = match kind {
                EventKind::Off(pitch) => {
                    assert!(sounding.remove(&(channel, pitch)), "an off without an on: {event:?}");
                    at.0.push((channel, pitch));
                    0
                }
                EventKind::Program(_) => 1,
                EventKind::On { pitch, velocity } => {
                    assert!(sounding.insert((channel, pitch)), "an on without an off: {event:?}");
                    at.1.push((channel, pitch, velocity));
                    2
                }
            };
            assert!(sample < frames && (sample, rank) >= last, "out of order: {event:?}");
            last = (sample, rank);
            true
        });
        self.now += i64::from(frames);
    }
}

const RATES: [f64; 5] = [44_100.0, 48_000.0, 88_200.0, 96_000.0, 192_000.0];

fn frames(rng: &mut ChaCha8Rng) -> u32 {
    match rng.random_range(0..4) {
        0 => 1 << rng.random_range(0..14),
        1 => rng.random_range(1..=64),
        _ => rng.random_range(1..=8192),
    }
}

#[test]
fn every_note_falls_where_the_rule_from_the_songs_start_puts_it() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rate = RATES[rng.random_range(0..RATES.len())];
        let tempo = if rng.random_bool(0.3) { 120.0 } else { rng.random_range(40.0..280.0) };
        let per_quarter = rate * 60.0 / tempo;
        let clip = random_clip(&mut rng, 1);
        let mut host = Host::new();
        host.clips.push(clip.clone()).unwrap();
        let mut expected = Heard::new();
        for _ in 0..rng.random_range(1..8) {
            // A run from anywhere, then a stop or at once another run: a seek.
            let song = rng.random_range(-200_000..40_000_000_i64);
            let run = host.now;
            for _ in 0..rng.random_range(1..60) {
                let frames = frames(&mut rng);
                let position = (song + host.now - run) as f64 / per_quarter;
                let transport = Transport {
                    playing: true,
                    position: Some(position),
                    tempo: Some(tempo),
                    sample_rate: rate,
                    ..Transport::default()
                };
                host.block(&transport, frames, Settings::default());
            }
            let position = song as f64 / per_quarter;
            let to = host.now;
            let run = Run { sample: run as f64, position, from: run, to, limit: f64::INFINITY };
            expect(&mut expected, &clip, run, per_quarter);
            if rng.random_bool(0.5) {
                let stopped = Transport { sample_rate: rate, ..Transport::default() };
                host.block(&stopped, frames(&mut rng), Settings::default());
            }
        }
        host.block(&Transport::default(), 1, Settings::default());
        assert!(host.sounding.is_empty());
        assert_eq!(normal(host.heard), normal(expected), "seed {seed}");
    }
}

#[test]
fn loops_wrap_on_the_sample_of_their_end() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
        let rate = RATES[rng.random_range(0..RATES.len())];
        let tempo: f64 = rng.random_range(40.0..280.0);
        let per_quarter = rate * 60.0 / tempo;
        let clip = random_clip(&mut rng, 1);
        let mut host = Host::new();
        host.clips.push(clip.clone()).unwrap();
        let start = f64::from(rng.random_range(0..64)) / 4.0;
        let end = start + f64::from(rng.random_range(1..40)) / 4.0;
        // Where the present pass began: a sample with its fraction, and a position.
        let (mut sample, mut position) = (0.0, start - rng.random_range(0.0..2.0));
        let mut passes = vec![(sample, position)];
        let total = (end - start) * per_quarter * 5.0;
        while (host.now as f64) < total {
            while sample + (end - position) * per_quarter <= host.now as f64 {
                (sample, position) = (sample + (end - position) * per_quarter, start);
            }
            let here = position + (host.now as f64 - sample) / per_quarter;
            let transport = Transport {
                playing: true,
                position: Some(here),
                tempo: Some(tempo),
                sample_rate: rate,
                loop_range: Some((start, end)),
                ..Transport::default()
            };
            host.block(&transport, frames(&mut rng), Settings::default());
        }
        let to = host.now;
        host.block(&Transport::default(), 1, Settings::default());
        let mut expected = Heard::new();
        while let Some((sample, position)) = passes.pop() {
            let next = sample + (end - position) * per_quarter;
            let from = (sample + 0.49).floor() as i64;
            let until = ((next + 0.49).floor() as i64).min(to);
            let run = Run { sample, position, from, to: until, limit: end };
            expect(&mut expected, &clip, run, per_quarter);
            if until < to {
                passes.push((next, start));
            }
        }
        assert_eq!(normal(host.heard), normal(expected), "seed {seed}");
    }
}
