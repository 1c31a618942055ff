//! The player against an oracle that knows nothing of blocks: it puts every note of every
//! repetition on the sample that the rule gives from the song's start.

use std::collections::BTreeMap;
use std::sync::Arc;

use famam_plugin::clip::{Clip, Origin};
use famam_plugin::player::{Event, EventKind, Output, Player, Playhead, Settings, Transport};
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

/// Offs, ons and programs of a sample.
type Sample = (Vec<(u8, u8)>, Vec<(u8, u8, u8)>, Vec<(u8, u8)>);
type Heard = BTreeMap<i64, Sample>;

/// The notes of `clip` in `run`, by the absolute rule; adds to `heard`.
fn expect(heard: &mut Heard, clip: &Clip, run: Run, samples_per_quarter: f64) {
    expect_versions(heard, &[(i64::MIN, clip)], run, samples_per_quarter);
}

/// The same where longer versions of a clip enter, each on its sample.
fn expect_versions(
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
fn expect_programs(heard: &mut Heard, clip: &Clip, sample: i64) {
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

fn normal(mut heard: Heard) -> Heard {
    for (offs, ons, programs) in heard.values_mut() {
        programs.sort_unstable();
        offs.sort_unstable();
        // Of notes struck on one sample any one's velocity is right.
        ons.sort_unstable();
    }
    heard
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
        Self {
            player,
            clips,
            _old,
            now: 0,
            heard: Heard::new(),
            sounding: Default::default(),
        }
    }

    fn block(&mut self, transport: &Transport, frames: u32, settings: Settings) {
        let (now, heard, sounding) = (self.now, &mut self.heard, &mut self.sounding);
        let mut last = (0, 0);
        self.player
            .process(transport, frames, settings, false, &mut |event| {
                let Event {
                    sample,
                    channel,
                    kind,
                } = event;
                let at = heard.entry(now + i64::from(sample)).or_default();
                let rank = match kind {
                    EventKind::Off(pitch) => {
                        assert!(
                            sounding.remove(&(channel, pitch)),
                            "an off without an on: {event:?}"
                        );
                        at.0.push((channel, pitch));
                        0
                    }
                    EventKind::Program(program) => {
                        at.2.push((channel, program));
                        1
                    }
                    EventKind::On { pitch, velocity } => {
                        assert!(
                            sounding.insert((channel, pitch)),
                            "an on without an off: {event:?}"
                        );
                        at.1.push((channel, pitch, velocity));
                        2
                    }
                };
                assert!(
                    sample < frames && (sample, rank) >= last,
                    "out of order: {event:?}"
                );
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

/// A clip of whole bars in which each bar has one note on its line, as long as the bar: pitch 60 and
/// up, on the channel of `program`.
fn bells(id: u64, program: u8, metre: Metre, bars: u32) -> Arc<Clip> {
    let who = Instrument::new(program).unwrap();
    let bar = |pitch| {
        vec![(
            who,
            Note {
                start: Ticks(0),
                pitch,
                duration: metre.bar(),
                velocity: 64,
            },
        )]
    };
    let music: Vec<_> = (0..bars as u8)
        .map(|bar_number| bar(60 + bar_number))
        .collect();
    Arc::new(Clip::from_bars(
        id,
        bars,
        metre,
        500_000,
        Origin::default(),
        &music,
    ))
}

/// 120 quarters a minute at 48 kHz: 24,000 samples a quarter.
fn at(quarters: f64) -> Transport {
    Transport {
        playing: true,
        position: Some(quarters),
        tempo: Some(120.0),
        sample_rate: 48_000.0,
        ..Transport::default()
    }
}

impl Host {
    /// Plays from `from` to `to` quarters in blocks of a quarter; the host's time is the song's.
    fn play(&mut self, from: u32, to: u32, settings: Settings) {
        for quarter in from..to {
            self.now = i64::from(quarter) * 24_000;
            self.block(&at(f64::from(quarter)), 24_000, settings);
        }
    }

    /// What was heard, as (quarter, offs, ons) by pitch.
    fn by_quarter(&self) -> Vec<(f64, Vec<u8>, Vec<u8>)> {
        let quarter = |sample: &i64| *sample as f64 / 24_000.0;
        let pitch = |on: &(u8, u8, u8)| on.1;
        self.heard
            .iter()
            .map(|(sample, (offs, ons, _))| {
                (
                    quarter(sample),
                    offs.iter().map(|off| off.1).collect(),
                    ons.iter().map(pitch).collect(),
                )
            })
            .collect()
    }
}

#[test]
fn a_new_clip_enters_at_the_next_bar_line_and_goes_on_where_the_song_is() {
    let mut host = Host::new();
    host.clips.push(bells(1, 0, Metre::COMMON, 2)).unwrap();
    host.play(0, 6, Settings::default());
    host.clips.push(bells(2, 40, Metre::COMMON, 4)).unwrap();
    host.play(6, 10, Settings::default());
    let expected = vec![
        (0.0, vec![], vec![60]),
        (4.0, vec![60], vec![61]),
        (8.0, vec![61], vec![62]),
    ];
    assert_eq!(host.by_quarter(), expected);
}

#[test]
fn the_hosts_metre_says_where_clips_are_exchanged() {
    let mut host = Host::new();
    host.clips.push(bells(1, 0, Metre::COMMON, 1)).unwrap();
    let seven = |quarters: f64| Transport {
        bar_line: Some(1.0),
        bar_length: Some(3.5),
        ..at(quarters)
    };
    host.block(&seven(0.0), 24_000, Settings::default());
    host.clips
        .push(bells(
            2,
            0,
            Metre {
                numerator: 7,
                denominator: 8,
                ..Metre::COMMON
            },
            2,
        ))
        .unwrap();
    (1..6).for_each(|quarter| host.block(&seven(f64::from(quarter)), 24_000, Settings::default()));
    // Bar lines at 1 and 4.5: it comes at 1; its own bars begin at 3.5.
    let expected = vec![
        (0.0, vec![], vec![60]),
        (1.0, vec![60], vec![]),
        (3.5, vec![], vec![61]),
    ];
    assert_eq!(host.by_quarter(), expected);
}

#[test]
fn where_play_finds_no_clip_the_first_enters_at_the_next_beat_of_its_bar() {
    let who = Instrument::new(0).unwrap();
    let note = |start, pitch| {
        (
            who,
            Note {
                start: Ticks(start),
                pitch,
                duration: Ticks(480),
                velocity: 64,
            },
        )
    };
    let bar = vec![note(0, 60), note(960, 61), note(1920, 62), note(2880, 63)];
    let clip = Clip::from_bars(1, 2, Metre::COMMON, 500_000, Origin::default(), &[bar]);
    let mut host = Host::new();
    host.play(8, 9, Settings::default());
    host.clips.push(Arc::new(clip)).unwrap();
    // It is there from 9.5 on.
    host.now = 9 * 24_000 + 12_000;
    host.block(&at(9.5), 12_000, Settings::default());
    host.play(10, 12, Settings::default());
    let ons: Vec<_> = host
        .by_quarter()
        .into_iter()
        .filter(|heard| !heard.2.is_empty())
        .collect();
    assert_eq!(
        ons,
        vec![(10.0, vec![], vec![62]), (11.0, vec![], vec![63])]
    );
}

#[test]
fn a_growing_clip_keeps_its_place_and_its_notes() {
    let who = Instrument::new(0).unwrap();
    let note = |start, pitch, duration| {
        (
            who,
            Note {
                start: Ticks(start),
                pitch,
                duration: Ticks(duration),
                velocity: 64,
            },
        )
    };
    let bars = [vec![note(1920, 60, 3840)], vec![note(1920, 61, 960)]];
    let version = |done: usize| {
        Arc::new(Clip::from_bars(
            1,
            4,
            Metre::COMMON,
            500_000,
            Origin::default(),
            &bars[..done],
        ))
    };
    let mut host = Host::new();
    host.play(4, 5, Settings::default());
    host.clips.push(version(1)).unwrap();
    host.play(5, 7, Settings::default());
    host.clips.push(version(2)).unwrap();
    host.play(7, 12, Settings::default());
    // It came in the song's second bar, whose line is its anchor; the note of its first bar lives
    // on over the line at which its longer version comes.
    let expected = vec![
        (6.0, vec![], vec![60]),
        (10.0, vec![60], vec![61]),
        (11.0, vec![61], vec![]),
    ];
    assert_eq!(host.by_quarter(), expected);
}

#[test]
fn whatever_ends_the_music_ends_every_note_once() {
    type Ending = fn(&mut Host);
    let endings: [(&str, Ending); 7] = [
        ("stop", |host| {
            host.block(&Transport::default(), 512, Settings::default())
        }),
        ("seek", |host| {
            host.block(&at(61.0), 512, Settings::default())
        }),
        ("reset", |host| {
            host.player.reset();
            host.block(
                &Transport {
                    sample_rate: 96_000.0,
                    ..at(2.0)
                },
                512,
                Settings::default(),
            );
        }),
        ("panic", |host| {
            let mut offs = 0;
            host.player
                .process(&at(2.0), 512, Settings::default(), true, &mut |event| {
                    offs += usize::from(matches!(event.kind, EventKind::Off(_)));
                    true
                });
            assert_eq!(offs, 1);
            host.sounding.clear();
        }),
        ("bypass", |host| {
            host.block(
                &at(2.0),
                512,
                Settings {
                    bypass: true,
                    ..Settings::default()
                },
            );
        }),
        ("another output", |host| {
            let output = Output::OnePart(5);
            host.block(
                &at(2.0),
                512,
                Settings {
                    output,
                    ..Settings::default()
                },
            );
        }),
        ("a position that is none", |host| {
            let nowhere = Transport {
                position: Some(f64::NAN),
                ..at(0.0)
            };
            host.block(&nowhere, 512, Settings::default());
        }),
    ];
    for (what, ending) in endings {
        let mut host = Host::new();
        host.clips.push(bells(1, 0, Metre::COMMON, 1)).unwrap();
        host.play(0, 2, Settings::default());
        assert_eq!(host.sounding.len(), 1, "{what}");
        ending(&mut host);
        assert!(host.sounding.is_empty(), "{what}");
    }
}

#[test]
fn a_host_without_room_gets_the_offs_later() {
    let mut host = Host::new();
    host.clips.push(bells(1, 0, Metre::COMMON, 1)).unwrap();
    host.play(0, 2, Settings::default());
    host.player.process(
        &Transport::default(),
        64,
        Settings::default(),
        false,
        &mut |_| false,
    );
    assert_eq!(host.sounding.len(), 1);
    host.block(&Transport::default(), 64, Settings::default());
    assert!(host.sounding.is_empty());
}

#[test]
fn programs_go_out_before_the_notes_that_they_are_for() {
    let programs = |settings: Settings| {
        let mut host = Host::new();
        let who = |index| Instrument::new(index).unwrap();
        let note = Note {
            start: Ticks(0),
            pitch: 60,
            duration: Ticks(960),
            velocity: 64,
        };
        let music = vec![vec![(who(128), note), (who(33), note), (who(4), note)]];
        let clip = Clip::from_bars(1, 1, Metre::COMMON, 500_000, Origin::default(), &music);
        host.clips.push(Arc::new(clip)).unwrap();
        let mut events = Vec::new();
        host.player
            .process(&at(0.0), 64, settings, false, &mut |event| {
                events.push((event.channel, event.kind));
                true
            });
        events
    };
    let on = EventKind::On {
        pitch: 60,
        velocity: 64,
    };
    let all = Settings {
        programs: true,
        ..Settings::default()
    };
    let expected = [
        (0, EventKind::Program(4)),
        (1, EventKind::Program(33)),
        (0, on),
        (1, on),
        (9, on),
    ];
    assert_eq!(programs(all), expected);
    let second = Settings {
        output: Output::OnePart(1),
        ..all
    };
    assert_eq!(programs(second), [(0, EventKind::Program(33)), (0, on)]);
    let drums = Settings {
        output: Output::OnePart(9),
        ..all
    };
    assert_eq!(programs(drums), [(0, on)]);
    assert_eq!(programs(Settings::default()), [(0, on), (1, on), (9, on)]);
}
