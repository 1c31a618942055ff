//! The player against an oracle that knows nothing of blocks: it puts every note of every
//! repetition on the sample that the rule gives from the song's start.

use std::sync::Arc;

use famam_plugin::clip::{Clip, Origin};
use famam_plugin::player::{EventKind, Output, Settings, Transport};
use famam_shared::instrument::Instrument;
use famam_shared::score::{Metre, Note, Ticks};

mod host;
mod oracle;
mod properties;

use host::Host;

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
