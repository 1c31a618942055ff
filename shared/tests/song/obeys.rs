//! Whether a score obeys what was asked of a song, by the words of the request alone.

use std::cell::Cell;
use std::collections::BTreeSet;

use famam_shared::encoding::controls::Densities;
use famam_shared::generation::song::{Song, SongTrack};
use famam_shared::instrument::Instrument;
use famam_shared::score::{Bar, Note, Score, TICKS_PER_QUARTER, Ticks};
use famam_shared::theory::rules::{Hold, Limits};

/// What is asked, and what came of it.
pub struct Asked<'a> {
    pub song: &'a Song,
    pub score: &'a Score,
    pub bars: Vec<Bar>,
    /// The known music's bars.
    pub known: u32,
    /// Whether every wanted track must play, in as many of its cells as was asked for.
    pub plays: bool,
    /// Where the levels of density begin.
    pub densities: Densities,
    /// Cells that had to be filled and are not, where several things asked for may leave them nothing to play.
    pub lacking: Cell<usize>,
}

impl Asked<'_> {
    pub fn wants(&self, note: &Note, instrument: Instrument) -> bool {
        let bar = self.bars.partition_point(|bar| bar.start <= note.start) as u32 - 1;
        self.wants_cell(bar, instrument)
    }

    fn wants_cell(&self, bar: u32, instrument: Instrument) -> bool {
        let song = self.song;
        let has = |tracks: &[Instrument]| tracks.contains(&instrument);
        let known: Vec<_> = song.known.tracks.iter().map(|t| t.instrument).collect();
        let asked: Vec<_> = song.tracks.iter().map(|t| t.instrument).collect();
        has(&asked)
            && match &song.wanted {
                Some(wanted) => wanted.contains(&(bar, instrument)),
                None => bar >= self.known || !has(&known),
            }
    }

    /// Wanted cells without a note, and wanted cells, of tracks of which no rests were asked for.
    pub fn empty(&self) -> (usize, usize) {
        let rests = Limits::default().rests;
        let tracks = self.song.tracks.iter();
        let tracks = tracks.filter(|track| track.limits.rests == rests);
        tracks.fold((0, 0), |(empty, wanted), track| {
            let by = track.instrument;
            let notes = self.notes(by);
            let cells = (0..self.song.length).filter(|&bar| self.wants_cell(bar, by));
            let cells: Vec<Bar> = cells.map(|bar| self.bars[bar as usize]).collect();
            let silent = |bar: &&Bar| {
                let begins = |note: &Note| (bar.start..bar.end).contains(&note.start);
                !notes.iter().any(begins)
            };
            (
                empty + cells.iter().filter(silent).count(),
                wanted + cells.len(),
            )
        })
    }

    fn notes(&self, instrument: Instrument) -> Vec<Note> {
        let tracks = self.score.tracks.iter();
        let tracks = tracks.filter(|track| track.instrument == instrument);
        let mut notes: Vec<_> = tracks.flat_map(|track| track.notes.clone()).collect();
        notes.sort_unstable();
        notes
    }

    pub fn check(&self) {
        self.frame();
        self.known();
        for track in &self.song.tracks {
            self.track(track);
        }
    }

    /// Exactly the bars, metres and tempos.
    fn frame(&self) {
        let song = self.song;
        assert_eq!(self.bars.len(), song.length as usize);
        for (i, bar) in self.bars.iter().enumerate() {
            let asked = song.bars.get(i).or(song.bars.last()).unwrap();
            let metre = (bar.metre.numerator, bar.metre.denominator);
            assert_eq!(metre, (asked.metre.numerator, asked.metre.denominator));
            assert_eq!(bar.end - bar.start, asked.metre.bar());
            assert_eq!(self.score.tempo_at(bar.start), asked.micros_per_quarter);
        }
        assert_eq!(self.score.end, self.bars.last().unwrap().end);
    }

    /// Every known note as it was, and nothing else where nothing is wanted.
    fn known(&self) {
        let end = self.score.end;
        for (i, before) in self.song.known.tracks.iter().enumerate() {
            let after = &self.score.tracks[i];
            assert_eq!(
                (after.instrument, &after.name),
                (before.instrument, &before.name)
            );
            let first = self.song.known.tracks[..i].iter();
            let first = !first
                .map(|t| t.instrument)
                .any(|by| by == before.instrument);
            let known = |note: &&Note| note.start < end && !self.wants(note, before.instrument);
            let after: Vec<_> = after.notes.iter().filter(known).collect();
            let before: Vec<_> = before.notes.iter().filter(known).collect();
            assert_eq!(after, before);
            assert!(first || after.len() == self.score.tracks[i].notes.len());
        }
        let mut asked: Vec<_> = self.song.tracks.iter().map(|t| t.instrument).collect();
        asked.extend(self.song.known.tracks.iter().map(|t| t.instrument));
        for track in &self.score.tracks {
            assert!(asked.contains(&track.instrument));
        }
    }

    fn track(&self, track: &SongTrack) {
        let by = track.instrument;
        let all = self.notes(by);
        let wanted: Vec<Note> = all
            .iter()
            .copied()
            .filter(|note| self.wants(note, by))
            .collect();
        let limits = &track.limits;
        let bar = |note: &Note| self.bars.partition_point(|bar| bar.start <= note.start) - 1;
        let filled: BTreeSet<usize> = wanted.iter().map(bar).collect();
        let cells = (0..self.song.length).filter(|&bar| self.wants_cell(bar, by));
        let cells = cells.count();
        if cells > 0 && self.plays && !track.may_rest {
            let least = (f64::from(track.least_filled) * cells as f64 - 1e-6).max(1.0);
            let lacking = (least.ceil() as usize).saturating_sub(filled.len());
            // Few notes at once and many in a bar may leave a cell no way to have them, and a key and a chord may
            // have nothing in common.
            let free = Limits::default();
            let others = Limits {
                density: free.density.clone(),
                pitches: free.pitches.clone(),
                ..limits.clone()
            };
            let several = limits.density != free.density && others != free;
            match several || (self.song.key.is_some() && self.song.chords.is_some()) {
                true => self.lacking.set(self.lacking.get() + lacking),
                false => assert_eq!(lacking, 0, "{by}: {} of {cells} cells", filled.len()),
            }
        }
        if !filled.is_empty() {
            let notes = wanted.len() * 100 / filled.len();
            let level = self.densities.level(by, notes as u32);
            let bars = filled.len();
            assert!(
                limits.density.contains(&level),
                "{by}: {notes} notes in 100 bars, of {bars}, are level {level}: {limits:?}, {wanted:?}",
            );
        }
        for note in &wanted {
            assert!(limits.pitches.contains(&note.pitch), "{by} {note:?}");
            assert!(note.end() <= self.score.end, "{by} {note:?}");
            let others = all
                .iter()
                .filter(|other| *other != note && other.pitch == note.pitch);
            let mut others = others.filter(|o| o.start <= note.start || o.start < note.end());
            assert!(
                others.all(|o| o.end() <= note.start || note.end() <= o.start),
                "{by} {note:?}"
            );
            let sounds = |other: &&Note| other.start <= note.start && other.end() > note.start;
            let count = all.iter().filter(sounds).count() as u16;
            assert!(
                limits.polyphony.contains(&count),
                "{by}: {count} sound at {:?}",
                note.start
            );
            if !by.is_drums() {
                assert!(limits.lengths.contains(&note.duration), "{by} {note:?}");
                self.harmony(note);
            }
        }
        if limits.rests != Limits::default().rests && wanted.len() == all.len() {
            let mut silent = Ticks(0);
            let ends = all.iter().map(|note| (note.start, note.end()));
            for (start, end) in ends.chain([(self.score.end, self.score.end)]) {
                let rest = start.saturating_sub(silent);
                let last = start == self.score.end;
                let long = rest >= *limits.rests.start() || last;
                assert!(rest.0 == 0 || long, "{by}: {rest:?} before {start:?}");
                assert!(
                    rest <= *limits.rests.end(),
                    "{by}: {rest:?} before {start:?}"
                );
                silent = silent.max(end);
            }
        }
    }

    /// In the key, and with the chords.
    fn harmony(&self, note: &Note) {
        if let Some((scale, Hold::Locked)) = self.song.key {
            assert!(
                scale.tones().contains(note.pitch),
                "{note:?} is not in {scale}"
            );
        }
        let Some((progression, Hold::Locked)) = &self.song.chords else {
            return;
        };
        let scale = self
            .song
            .key
            .map_or(progression.key().into(), |(scale, _)| scale);
        let spans: Vec<_> = progression.over(&self.bars, 0).collect();
        let here = spans
            .iter()
            .position(|(at, _)| at.contains(&note.start))
            .unwrap();
        let (at, symbol) = &spans[here];
        let bar = self
            .bars
            .iter()
            .rfind(|bar| bar.start <= note.start)
            .unwrap();
        let beat = (note.start - bar.start).0.is_multiple_of(TICKS_PER_QUARTER);
        let tones = symbol.tones();
        let allowed = match beat || note.start == at.start {
            true => tones,
            false => symbol.chord.scale(Some(scale)).union(tones),
        };
        assert!(allowed.contains(note.pitch), "{note:?} over {symbol}");
        for pair in spans[here..].windows(2) {
            let ((_, before), (at, after)) = (&pair[0], &pair[1]);
            if before != after && note.end() > at.start {
                assert!(after.tones().contains(note.pitch), "{note:?} into {after}");
            }
        }
    }
}
