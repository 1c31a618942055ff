//! The song that options ask for.

use std::collections::BTreeSet;

use famam_plugin::band;
use famam_plugin::harmony::{AskedKey, Which};
use famam_plugin::styles::{Style, Styles};
use famam_shared::encoding::Encoding;
use famam_shared::encoding::controls;
use famam_shared::generation::song::{Song, SongBar, SongTrack};
use famam_shared::instrument::InstrumentSet;
use famam_shared::manifest::Manifest;
use famam_shared::score::{Metre, Score, Tempo, Ticks};
use famam_shared::theory::rules::Hold;
use famam_shared::theory::{Progression, Scale};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::GenerateError;
use super::cells::Cells;
use super::known::Known;
use super::options::Options;
use super::sets::Place;

/// What is drawn by the seed beside the notes, each from random numbers of its own.
#[derive(Clone, Copy)]
pub enum Draw {
    Style,
    Key,
    Chords,
    /// The chords of a section's letter.
    Letter(u8),
    /// The track that a repeated section has anew.
    Track(u8),
}

/// Which of so many.
pub fn draw(seed: u64, what: Draw, of: usize) -> usize {
    let mut numbers = ChaCha8Rng::seed_from_u64(seed);
    // Bars have the streams below 2^32, retries the last one.
    numbers.set_stream(match what {
        Draw::Style => 1 << 32,
        Draw::Key => 2 << 32,
        Draw::Chords => 3 << 32,
        Draw::Letter(letter) => (4 << 32) + u64::from(letter),
        Draw::Track(section) => (5 << 32) + u64::from(section),
    });
    (numbers.next_u64() % of.max(1) as u64) as usize
}

/// Options, with what they name read.
pub struct Plan<'a> {
    pub options: &'a Options,
    pub manifest: &'a Manifest,
    pub styles: Styles,
    pub known: Option<Known>,
}

impl<'a> Plan<'a> {
    /// Reads what the options name.
    pub fn new(
        options: &'a Options,
        manifest: &'a Manifest,
        encoding: &'a dyn Encoding,
    ) -> Result<Self, GenerateError> {
        let styles = Styles::of_user()?;
        let known = Known::of(options, encoding)?;
        if known.is_none() {
            let needs = [
                ("--from-bar", options.from_bar.is_some()),
                ("--first-tokens", options.first_tokens.is_some()),
                ("--fill", options.fill.is_some()),
                ("--lock", options.lock.is_some()),
            ];
            if let Some((flag, _)) = needs.into_iter().find(|(_, said)| *said) {
                return Err(GenerateError::NothingKnown { flag });
            }
        }
        Ok(Self {
            styles: match &options.styles {
                Some(file) => styles.with(file)?,
                None => styles,
            },
            options,
            manifest,
            known,
        })
    }

    /// The song of a seed, at a place of a set.
    pub fn song(&self, seed: u64, place: &Place) -> Result<Song, GenerateError> {
        let options = self.options;
        let style = self.style(seed)?;
        let genre = self.genre(&style, place)?;
        let mut bars: Vec<SongBar> = self.known.iter().flat_map(Known::states).collect();
        let known = bars.len() as u32;
        let rewrites = options.fill.is_some() || options.lock.is_some();
        if !rewrites {
            bars.push(self.new_bar(&style, bars.last()));
        }
        let length = match (rewrites, bars.last()) {
            (false, Some(new)) => known.saturating_add(self.new_bars(new)),
            _ => known,
        };
        let asked = self.tracks(&style, genre)?;
        let (tracks, wanted) = self.cells(asked, genre, known, length)?;
        let key = place.key.or(options.key).or(style.key);
        let (key, chords) = self.harmony(&style, key, place, seed)?;
        Ok(Song {
            length,
            bars,
            tracks,
            key: key.map(|key| (key.scale, key.hold)),
            chords,
            known: self
                .known
                .as_ref()
                .map_or_else(Score::default, |known| known.score.clone()),
            wanted,
            genre,
            seed,
            sampling: options
                .sampling
                .or(&style.sampling)
                .over(self.manifest.sampling),
            max_tokens: options.max_tokens,
        })
    }

    fn style(&self, seed: u64) -> Result<Style, GenerateError> {
        let named = |names: &String| {
            let style = self.styles.named(names, |of| draw(seed, Draw::Style, of));
            style.map_err(GenerateError::from)
        };
        let style = self.options.style.as_ref().map(named).transpose()?;
        Ok(style.unwrap_or_default())
    }

    fn genre(&self, style: &Style, place: &Place) -> Result<u16, GenerateError> {
        let vocabulary = &self.manifest.vocabulary;
        let asked = Some(self.options.genre.as_str()).filter(|genre| *genre != "any");
        let asked = place.genre.as_deref().or(asked).or(style.genre.as_deref());
        let asked = asked.unwrap_or("any");
        vocabulary.genre(asked).ok_or_else(|| GenerateError::Genre {
            genre: asked.to_owned(),
            known: vocabulary.genres.join(", "),
        })
    }

    /// Metre and tempo of what is new, behind `last`.
    fn new_bar(&self, style: &Style, last: Option<&SongBar>) -> SongBar {
        let micros = |tempo: f64| (60e6 / tempo).round() as u32;
        let metre = last.map_or(Metre::COMMON, |bar| bar.metre);
        let tempo = last.map_or(Tempo::DEFAULT_MICROS, |bar| bar.micros_per_quarter);
        SongBar {
            metre: Metre {
                at: Ticks(0),
                ..self.options.metre.unwrap_or(metre)
            },
            micros_per_quarter: self.options.tempo.or(style.tempo).map_or(tempo, micros),
        }
    }

    /// How many bars are new, each as `bar`.
    fn new_bars(&self, bar: &SongBar) -> u32 {
        let options = self.options;
        if let Some(sections) = &options.sections {
            return sections.count() as u32 * options.section_bars;
        }
        let seconds = bar.metre.bar().quarters() * f64::from(bar.micros_per_quarter) * 1e-6;
        // A little less than a bar more is none: 30 seconds at 120 quarters a minute are 15 bars.
        let fill = |asked: f64| (asked / seconds - 1e-6).ceil().max(1.0) as u32;
        options.seconds.map_or(options.bars, fill)
    }

    /// The tracks that are named; none where the genre or the file decides.
    fn tracks(&self, style: &Style, genre: u16) -> Result<Vec<SongTrack>, GenerateError> {
        let bands = &self.manifest.bands;
        if let Some(words) = &self.options.instruments {
            let band = band::of(&InstrumentSet::parse(words)?, bands, genre);
            return Ok(band.iter().map(SongTrack::new).collect());
        }
        let asked = self.options.tracks.as_ref().unwrap_or(&style.tracks);
        Ok(asked.choose(bands, genre)?)
    }

    /// What plays, of `asked`, and which cells of it are wanted.
    fn cells(
        &self,
        asked: Vec<SongTrack>,
        genre: u16,
        known_bars: u32,
        length: u32,
    ) -> Result<(Vec<SongTrack>, Option<Cells>), GenerateError> {
        let bands = &self.manifest.bands;
        let Some(known) = &self.known else {
            let top = usize::from(self.options.top_instruments);
            let tracks = match asked.is_empty() {
                true => bands.top(genre, top).iter().map(SongTrack::new).collect(),
                false => asked,
            };
            return Ok((tracks, None));
        };
        let named: InstrumentSet = asked.iter().map(|track| track.instrument).collect();
        let band = known.band().union(&named);
        let every = |bars: std::ops::Range<u32>, band: InstrumentSet| -> Cells {
            bars.flat_map(|bar| band.iter().map(move |by| (bar, by)))
                .collect()
        };
        let options = self.options;
        let of = (bands, genre);
        let mut wanted = match (&options.fill, &options.lock) {
            (Some(fill), _) => fill.of(&band, length, of)?,
            (None, Some(_)) => every(0..length, band),
            (None, None) if named.is_empty() => every(known_bars..length, band),
            (None, None) => every(known_bars..length, named),
        };
        if let Some(lock) = &options.lock {
            let locked = lock.of(&band, length, of)?;
            wanted.retain(|cell| !locked.contains(cell));
        }
        let by: BTreeSet<_> = wanted.iter().map(|(_, by)| *by).collect();
        if by.is_empty() {
            return Err(GenerateError::AllLocked);
        }
        if let Some(track) = asked.iter().find(|track| !by.contains(&track.instrument)) {
            return Err(GenerateError::Unwanted(track.instrument));
        }
        let track = |by| {
            let mut asked = asked.iter();
            let asked = asked.find(|track| track.instrument == by);
            asked.cloned().unwrap_or_else(|| SongTrack::new(by))
        };
        Ok((by.into_iter().map(track).collect(), Some(wanted)))
    }

    /// The key and the chords, which are moved to that of the place. Where chords are drawn for no key, it is drawn
    /// as well.
    #[expect(clippy::type_complexity, reason = "as a song has them")]
    fn harmony(
        &self,
        style: &Style,
        mut key: Option<AskedKey>,
        place: &Place,
        seed: u64,
    ) -> Result<(Option<AskedKey>, Option<(Progression, Hold)>), GenerateError> {
        let Some(asked) = self.options.chords.as_ref().or(style.chords.as_ref()) else {
            return Ok((key, None));
        };
        let moved = |chords: Progression| match place.key {
            Some(key) => chords.in_key(key.scale.tonality()),
            None => chords,
        };
        let one = match &asked.which {
            Which::Written(text) => match text.parse() {
                Ok(symbols) => moved(symbols),
                // Numerals are of the place's key as they stand.
                Err(_) => Progression::parse(text, key.map(|key| key.scale))?,
            },
            Which::Found => {
                let known = self.known.as_ref();
                let known = known.ok_or(GenerateError::NothingKnown {
                    flag: "--chords from",
                })?;
                moved(Progression::of_score(&known.score, &known.bars)?)
            }
            Which::Drawn => {
                let drawn = draw(seed, Draw::Key, controls::KEYS) as u16;
                let key = *key.get_or_insert(controls::tonality(drawn).into());
                drawn_chords(key.scale, seed, Draw::Chords)?
            }
        };
        // Each section begins its progression anew; each letter has its own where they are drawn.
        let Some(sections) = &self.options.sections else {
            return Ok((key, Some((one, asked.hold))));
        };
        let bars = self.options.section_bars as usize;
        let mut all = Vec::new();
        for letter in sections.letters() {
            let own = match (&asked.which, key) {
                (Which::Drawn, Some(key)) => drawn_chords(key.scale, seed, Draw::Letter(letter))?,
                _ => one.clone(),
            };
            all.extend(own.bars().iter().cycle().take(bars).cloned());
        }
        Ok((key, Some((Progression::new(all)?, asked.hold))))
    }
}

/// A common progression of a key.
fn drawn_chords(scale: Scale, seed: u64, what: Draw) -> Result<Progression, GenerateError> {
    let mut common: Vec<Progression> = Progression::common(scale.tonality()).collect();
    match common.is_empty() {
        // Never, as its test says; and what has no chord is told as such.
        true => Ok(Progression::new(Vec::new())?),
        false => Ok(common.swap_remove(draw(seed, what, common.len()))),
    }
}
