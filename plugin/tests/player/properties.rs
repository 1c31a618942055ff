//! Random clips, tempos, rates, blocks, seeks, loops, programs and growing clips against the oracle.

use std::sync::Arc;

use famam_plugin::clip::{Clip, Origin};
use famam_plugin::player::{Settings, Transport};
use famam_shared::instrument::Instrument;
use famam_shared::score::{Metre, Note, Ticks};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::host::Host;
use super::oracle::{Heard, Run, expect, expect_programs, expect_versions, normal};

const RATES: [f64; 5] = [44_100.0, 48_000.0, 88_200.0, 96_000.0, 192_000.0];

fn frames(rng: &mut ChaCha8Rng) -> u32 {
    match rng.random_range(0..4) {
        0 => 1 << rng.random_range(0..14),
        1 => rng.random_range(1..=64),
        _ => rng.random_range(1..=8192),
    }
}

fn random_clip(rng: &mut ChaCha8Rng, id: u64) -> Arc<Clip> {
    let metres = [(4, 4), (3, 4), (7, 8), (6, 8)];
    let (numerator, denominator) = metres[rng.random_range(0..metres.len())];
    let metre = Metre {
        at: Ticks(0),
        numerator,
        denominator,
    };
    let music = random_music(rng, metre, 6);
    let bars = music.len() as u32;
    Arc::new(Clip::from_bars(
        id,
        bars,
        metre,
        500_000,
        Origin::default(),
        &music,
    ))
}

/// Up to `most` bars.
fn random_music(rng: &mut ChaCha8Rng, metre: Metre, most: u32) -> Vec<Vec<(Instrument, Note)>> {
    // Positions on sixteenths and twelfths, a few of them thick with equal pitches.
    let grid = if rng.random_bool(0.5) { 240 } else { 80 };
    (0..rng.random_range(1..=most))
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
        .collect()
}

#[test]
fn every_note_falls_where_the_rule_from_the_songs_start_puts_it() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rate = RATES[rng.random_range(0..RATES.len())];
        let tempo = if rng.random_bool(0.3) {
            120.0
        } else {
            rng.random_range(40.0..280.0)
        };
        let per_quarter = rate * 60.0 / tempo;
        let clip = random_clip(&mut rng, 1);
        let mut host = Host::new();
        host.clips.push(clip.clone()).unwrap();
        let mut expected = Heard::new();
        let (mut programs, mut stopped) = (false, true);
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
                let toggled = rng.random_bool(0.05);
                programs ^= toggled;
                if programs && (toggled || std::mem::take(&mut stopped)) {
                    expect_programs(&mut expected, &clip, host.now);
                }
                stopped = false;
                let settings = Settings {
                    programs,
                    ..Settings::default()
                };
                host.block(&transport, frames, settings);
            }
            let position = song as f64 / per_quarter;
            let to = host.now;
            let run = Run {
                sample: run as f64,
                position,
                from: run,
                to,
                limit: f64::INFINITY,
            };
            expect(&mut expected, &clip, run, per_quarter);
            if rng.random_bool(0.5) {
                let still = Transport {
                    sample_rate: rate,
                    ..Transport::default()
                };
                let settings = Settings {
                    programs,
                    ..Settings::default()
                };
                host.block(&still, frames(&mut rng), settings);
                stopped = true;
            }
        }
        host.block(&Transport::default(), 1, Settings::default());
        assert!(host.sounding.is_empty());
        assert_eq!(normal(host.heard), normal(expected), "seed {seed}");
    }
}

#[test]
fn a_growing_clip_goes_on_and_says_new_parts_alone() {
    let mut spoken = 0;
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(2000 + seed);
        let rate = RATES[rng.random_range(0..RATES.len())];
        let tempo: f64 = rng.random_range(40.0..280.0);
        let per_quarter = rate * 60.0 / tempo;
        let music = random_music(&mut rng, Metre::COMMON, 12);
        let bars = music.len() as u32;
        let version = |done: usize| {
            let (metre, origin) = (Metre::COMMON, Origin::default());
            let clip = Clip::from_bars(1, bars, metre, 500_000, origin, &music[..done]);
            Arc::new(clip)
        };
        let programs = rng.random_bool(0.8);
        let settings = Settings {
            programs,
            ..Settings::default()
        };
        let mut host = Host::new();
        let mut expected = Heard::new();
        let song = rng.random_range(-100..100_000_000_i64) as f64 / per_quarter;
        let at = |quarters: f64| ((quarters - song) * per_quarter + 0.49).floor() as i64;
        let first = version(1);
        host.clips.push(first.clone()).unwrap();
        if programs {
            expect_programs(&mut expected, &first, 0);
        }
        // Those that entered, and the one that waits for a bar line.
        let mut versions = vec![(0, first)];
        let mut waiting: Option<(i64, Arc<Clip>)> = None;
        let mut done = 1;
        while host.now as f64 * tempo / 60.0 / rate < 4.0 * f64::from(bars) {
            let frames = frames(&mut rng);
            if host.now > 0 && done < music.len() && rng.random_bool(0.2) {
                done += 1;
                host.clips.push(version(done)).unwrap();
                let here = ((host.now as f64 / per_quarter + song) / 4.0).floor() as i64;
                let mut lines = (here..).map(|bar| at(bar as f64 * 4.0));
                let enters = lines.find(|&sample| sample >= host.now).unwrap();
                waiting = Some((enters, version(done)));
            }
            let until = host.now + i64::from(frames);
            if let Some((enters, clip)) = waiting.take_if(|(enters, _)| *enters < until) {
                let parts = versions.last().map(|(_, old)| &old.parts);
                if programs && parts != Some(&clip.parts) {
                    spoken += 1;
                    expect_programs(&mut expected, &clip, enters);
                }
                versions.push((enters, clip));
            }
            let transport = Transport {
                playing: true,
                position: Some(song + host.now as f64 / per_quarter),
                tempo: Some(tempo),
                sample_rate: rate,
                ..Transport::default()
            };
            host.block(&transport, frames, settings);
        }
        let run = Run {
            sample: 0.0,
            position: song,
            from: 0,
            to: host.now,
            limit: f64::INFINITY,
        };
        host.block(&Transport::default(), 1, settings);
        let versions: Vec<_> = versions.iter().map(|(at, clip)| (*at, &**clip)).collect();
        expect_versions(&mut expected, &versions, run, per_quarter);
        assert_eq!(normal(host.heard), normal(expected), "seed {seed}");
    }
    assert!(spoken > 50, "{spoken}");
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
            let run = Run {
                sample,
                position,
                from,
                to: until,
                limit: end,
            };
            expect(&mut expected, &clip, run, per_quarter);
            if until < to {
                passes.push((next, start));
            }
        }
        assert_eq!(normal(host.heard), normal(expected), "seed {seed}");
    }
}
