//! What a few bars show of their genre while instruments are hidden: numbers, always the same many.
//!
//! Known of a track are its notes and whether it is drums. What is asked of a model (instruments, tempo)
//! is not among the numbers, so that music is not recognized by what it was asked for; what drums
//! strike is, as *rhythm histograms* over the bar and the beat (Gouyon et al., "Evaluating rhythmic
//! descriptors for musical genre classification", 2004), and what pitches do beside the key: pitch-class and
//! interval histograms (McKay and Fujinaga, "Automatic genre classification using large high-level musical
//! feature sets", 2004), chords and the steps between their roots.

use famam_shared::chord::Chord;
use famam_shared::key;
use famam_shared::score::{Note, Track};

use super::super::excerpt::{Excerpt, POSITIONS, position};
use super::super::figures::FIGURES;
use super::super::{pitch, rhythm};

/// 16ths of a bar of 4/4; longer bars begin anew behind it.
const SIXTEENTHS: usize = 16;
/// Positions in a beat, on the figures' grid.
const IN_BEAT: usize = POSITIONS as usize;
/// Kinds of drums that rhythms are told apart by.
const DRUMS: usize = 11;
/// Intervals that are told apart: an octave down to an octave up, what is larger with these.
const INTERVALS: usize = 25;
/// A step of a chord's root or a class relative to the key.
const CLASSES: usize = 12;
/// Qualities of chords, and silence.
const QUALITIES: usize = Chord::COUNT / CLASSES + 1;

/// The kind of drum that a key of General MIDI's percussion is.
fn drum(pitch: u8) -> usize {
    match pitch {
        35 | 36 => 0,
        37 | 39 => 1,
        38 | 40 => 2,
        42 | 44 => 3,
        46 => 4,
        51 | 53 | 59 => 5,
        49 | 52 | 55 | 57 => 6,
        41 | 43 | 45 | 47 | 48 | 50 => 7,
        60..=68 => 8,
        54 | 69 | 70 | 82 => 9,
        _ => 10,
    }
}

/// Counts of things in kinds, as shares.
struct Histogram(Vec<f32>);

impl Histogram {
    fn new(kinds: usize) -> Self {
        Self(vec![0.0; kinds])
    }

    fn add(&mut self, kind: usize) {
        self.0[kind] += 1.0;
    }

    /// Each over the sum of all.
    fn shares(self, to: &mut Vec<f32>) {
        let sum: f32 = self.0.iter().sum();
        to.extend(self.0.iter().map(|count| count / sum.max(1.0)));
    }

    /// Each over a number of places.
    fn a_place(self, places: usize, to: &mut Vec<f32>) {
        let places = places.max(1) as f32;
        to.extend(self.0.iter().map(|count| count / places));
    }
}

/// Where notes begin: in the bar by 16ths, as often as bars have a note there, and in the beat.
struct Rhythm {
    in_bar: Histogram,
    in_beat: Histogram,
}

impl Rhythm {
    /// Of the starts in each bar, sorted, each once.
    fn of(bars: &[Vec<u32>]) -> Self {
        let mut rhythm = Self {
            in_bar: Histogram::new(SIXTEENTHS),
            in_beat: Histogram::new(IN_BEAT),
        };
        for at in bars.iter().flatten() {
            let at = *at as usize;
            rhythm.in_bar.add(at / (IN_BEAT / 4) % SIXTEENTHS);
            rhythm.in_beat.add(at % IN_BEAT);
        }
        rhythm
    }

    fn put(self, bars: usize, to: &mut Vec<f32>) {
        self.in_bar.a_place(bars, to);
        self.in_beat.shares(to);
    }
}

/// The starts of the notes that `takes` takes, bar by bar.
fn starts(excerpt: &Excerpt, takes: impl Fn(&Track, &Note) -> bool) -> Vec<Vec<u32>> {
    let mut bars = excerpt.by_bar(|track, note, at| (!takes(track, note), at));
    for bar in &mut bars {
        bar.retain(|(left_out, _)| !left_out);
    }
    let at = |bar: Vec<(bool, u32)>| bar.into_iter().map(|(_, at)| at).collect();
    bars.into_iter().map(at).collect()
}

/// What drums strike, and where they are loud.
fn drums(excerpt: &Excerpt, to: &mut Vec<f32>) {
    let bars = excerpt.bars().len();
    for kind in 0..DRUMS {
        let of_kind =
            |track: &Track, note: &Note| track.instrument.is_drums() && drum(note.pitch) == kind;
        Rhythm::of(&starts(excerpt, of_kind)).put(bars, to);
    }
    let mut loudness = [(0.0, 0.0f32); SIXTEENTHS];
    let strikes =
        excerpt.by_bar(|track, note, at| (track.instrument.is_drums(), at, note.velocity));
    for (_, at, velocity) in strikes.iter().flatten().filter(|(drums, ..)| *drums) {
        let place = &mut loudness[*at as usize / (IN_BEAT / 4) % SIXTEENTHS];
        *place = (place.0 + f32::from(*velocity) / 127.0, place.1 + 1.0);
    }
    to.extend(loudness.iter().map(|(sum, count)| sum / count.max(1.0)));
}

/// What pitched tracks of one part do: rhythm, lengths, intervals of their top lines, and how many notes
/// begin together.
fn part(excerpt: &Excerpt, tracks: &[&Track], to: &mut Vec<f32>) {
    let among = |track: &Track| tracks.iter().any(|of| of.instrument == track.instrument);
    let bars = starts(excerpt, |track, _| among(track));
    Rhythm::of(&bars).put(bars.len(), to);
    let mut lengths = Histogram::new(rhythm::LENGTHS.len());
    let mut intervals = Histogram::new(INTERVALS);
    let mut together = Histogram::new(6);
    for track in tracks {
        for note in &track.notes {
            lengths.add(rhythm::length(note));
        }
        for pair in pitch::top_line(&track.notes).windows(2) {
            let interval = i32::from(pair[1]) - i32::from(pair[0]);
            intervals.add((interval.clamp(-12, 12) + 12) as usize);
        }
        for chord in track.notes.chunk_by(|a, b| a.start == b.start) {
            together.add(chord.len().min(6) - 1);
        }
    }
    [lengths, intervals, together]
        .into_iter()
        .for_each(|histogram| histogram.shares(to));
}

/// Pitch classes over the key's tonic, octaves, and chords.
fn harmony(excerpt: &Excerpt, bass: &[&Track], to: &mut Vec<f32>) {
    let score = excerpt.score();
    let key = key::likely(&key::pitch_classes(score));
    let tonic = key.map_or(0, |(key, _)| usize::from(key.tonic));
    let above_tonic = |class: usize| (class + CLASSES - tonic) % CLASSES;
    let mut classes = Histogram::new(CLASSES);
    let mut bass_classes = Histogram::new(CLASSES);
    let mut octaves = Histogram::new(11);
    for note in excerpt.pitched_notes() {
        classes.add(above_tonic(usize::from(note.pitch) % CLASSES));
        octaves.add((usize::from(note.pitch) / CLASSES).min(10));
    }
    for note in bass.iter().flat_map(|track| &track.notes) {
        bass_classes.add(above_tonic(usize::from(note.pitch) % CLASSES));
    }
    let spans = pitch::spans(excerpt.bars());
    let mut qualities = Histogram::new(QUALITIES);
    let mut roots = Histogram::new(CLASSES);
    let mut steps = Histogram::new(CLASSES + 1);
    let mut last = None;
    for chord in Chord::of_bars(score, &spans) {
        // 0 is silence, then come the roots of each quality.
        let Some(index) = usize::from(chord.index()).checked_sub(1) else {
            qualities.add(0);
            continue;
        };
        let (quality, root) = (index / CLASSES, index % CLASSES);
        qualities.add(1 + quality);
        roots.add(above_tonic(root));
        if let Some((before, of)) = last.replace((root, quality)) {
            let stays = (before, of) == (root, quality);
            let step = (root + CLASSES - before) % CLASSES;
            steps.add(if stays { CLASSES } else { step });
        }
    }
    [classes, bass_classes, octaves, qualities, roots, steps]
        .into_iter()
        .for_each(|histogram| histogram.shares(to));
    to.push(key.map_or(0.5, |(key, _)| f32::from(u8::from(key.minor))));
    to.push(key.map_or(0.0, |(_, fit)| fit as f32));
}

/// The numbers of some bars.
pub fn features(excerpt: &Excerpt) -> Vec<f32> {
    let mut to = Vec::new();
    drums(excerpt, &mut to);
    let mean = |track: &Track| {
        let pitches: u32 = track.notes.iter().map(|note| u32::from(note.pitch)).sum();
        f64::from(pitches) / track.notes.len().max(1) as f64
    };
    // The lowest track, then those that play chords, then lines.
    let mut tracks: Vec<&Track> = excerpt.pitched().collect();
    tracks.sort_by(|a, b| mean(a).total_cmp(&mean(b)));
    let (bass, others) = tracks.split_at(tracks.len().min(1));
    let chordal = |track: &&&Track| {
        let chords = track.notes.chunk_by(|a, b| a.start == b.start).count();
        2 * track.notes.len() >= 3 * chords
    };
    let (chords, lines): (Vec<&Track>, Vec<&Track>) =
        others.iter().partition(|track| chordal(track));
    for tracks in [bass, &chords, &lines] {
        part(excerpt, tracks, &mut to);
    }
    harmony(excerpt, bass, &mut to);
    for figure in FIGURES.iter().filter(|figure| figure.is_number()) {
        let value = figure.of(excerpt).and_then(|value| value.first().copied());
        to.push(value.unwrap_or(0.0) as f32);
        to.push(f32::from(u8::from(value.is_some())));
    }
    // How late after its position a note begins, on average and from note to note.
    let late = |note: &Note| {
        note.start.quarters() * f64::from(POSITIONS) - f64::from(position(note.start))
    };
    let late: Vec<f64> = excerpt.notes().map(late).collect();
    let count = late.len().max(1) as f64;
    to.push((late.iter().sum::<f64>() / count) as f32);
    to.push((late.iter().map(|late| late.abs()).sum::<f64>() / count) as f32);
    to
}
