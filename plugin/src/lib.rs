//! Famam as a CLAP and VST3 plugin.
//!
//! 1. A host makes a [`Famam`]: an [`Instance`](worker::Instance) joins the process's worker, and its
//!    [`Player`] gets the other end of the queues. Nothing is loaded yet.
//! 2. `activate` starts it: unless a song brought a clip, one is made in the background.
//! 3. `process`, on the audio thread, hands the host's transport to the player and the player's
//!    events to the host. It neither allocates nor locks nor waits, except in an offline render,
//!    which waits until all that was asked for is there.
//! 4. Parameters ([`params`]) and state ([`state`]) reach the worker through the [`Slot`](slot::Slot)
//!    and its commands; a window reads a [`View`](snapshot::View) and sends
//!    [`Commands`](snapshot::Commands).

// The derive macros of `nih_plug` name it by its package.
extern crate nih_plug as nice_plug;

use std::sync::Arc;
use std::time::Duration;

use famam_shared::generation::song::SongBar;
use famam_shared::score::{Metre, Ticks};
use nih_plug::midi::{Channel, Key, VoiceID};
use nih_plug::prelude::*;

pub mod band;
pub mod clip;
pub mod editor;
mod factory;
pub mod harmony;
pub mod model;
pub mod params;
mod pin;
pub mod player;
pub mod sampling;
pub mod slot;
pub mod snapshot;
pub mod standalone;
pub mod state;
pub mod styles;
pub mod tracks;
pub mod worker;

use player::{EventKind, Player};
use worker::Instance;

/// How long an offline render sleeps between two looks.
const WAIT: Duration = Duration::from_millis(1);
/// MIDI's controller *all notes off*.
const ALL_NOTES_OFF: u8 = 123;

/// An instance of the plugin; see the crate.
pub struct Famam {
    instance: Instance,
    player: Player,
    /// Whether time is the song's, not the clock's.
    offline: bool,
    /// [`slot::Slot::panics`] as far as they were followed.
    panics: u32,
    /// The standalone's song.
    position: standalone::Position,
}

impl Default for Famam {
    fn default() -> Self {
        let (instance, player) = Instance::new();
        Self {
            instance,
            player,
            offline: false,
            panics: 0,
            position: Default::default(),
        }
    }
}

impl Plugin for Famam {
    const NAME: &'static str = "Famam";
    const VENDOR: &'static str = "Famam";
    const URL: &'static str = "";
    const EMAIL: &'static str = "";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    // Silent, but some hosts refuse a plugin that makes no sound.
    const AUDIO_IO_LAYOUTS: &'static [AudioIOLayout] = &[AudioIOLayout {
        main_input_channels: None,
        main_output_channels: NonZeroU32::new(2),
        ..AudioIOLayout::const_default()
    }];
    const MIDI_INPUT: MidiConfig = MidiConfig::Basic;
    // Program changes go out only so.
    const MIDI_OUTPUT: MidiConfig = MidiConfig::MidiCCs;

    type Editor = editor::Editor;
    type SysExMessage = ();
    type BackgroundTask = ();

    fn params(&self) -> Arc<dyn Params> {
        self.instance.params.clone()
    }

    fn editor(&mut self, _executor: AsyncExecutor<Self>) -> Option<editor::Editor> {
        let Instance {
            params,
            view,
            commands,
            ..
        } = &self.instance;
        editor::editor(params.clone(), view.clone(), commands.clone())
    }

    fn filter_state(state: &mut PluginState) {
        state::follow_genre(state);
    }

    fn activate(
        &mut self,
        _layout: &AudioIOLayout,
        config: &BufferConfig,
        context: &mut impl ActivateContext<Self>,
    ) -> bool {
        let standalone = context.plugin_api() == PluginApi::Standalone;
        self.instance.view.standalone.use_them(standalone);
        self.offline = config.process_mode == ProcessMode::Offline;
        self.instance.start();
        true
    }

    fn reset(&mut self) {
        self.player.reset();
    }

    fn process(
        &mut self,
        buffer: &mut Buffer,
        _aux: &mut AuxiliaryBuffers,
        context: &mut impl ProcessContext<Self>,
    ) -> ProcessStatus {
        let frames = buffer.samples() as u32;
        for channel in buffer.as_slice() {
            channel.fill(0.0);
        }
        let host = context.transport();
        let controls = &self.instance.view.standalone;
        let (transport, song) = if controls.in_use() {
            let rate = f64::from(host.sample_rate);
            let (transport, song) = self.position.advance(controls, frames, rate);
            (transport, Some(song))
        } else {
            (transport(host), song(host))
        };
        let slot = &self.instance.slot;
        song.into_iter().for_each(|song| slot.set_song(song));
        if self.offline {
            wait(slot, &mut self.player);
        }
        let panics = slot.panics();
        let panic = std::mem::replace(&mut self.panics, panics) != panics;
        if panic {
            for channel in 0..clip::CHANNELS as u8 {
                let event = NoteEvent::MidiCC {
                    timing: 0,
                    channel,
                    cc: ALL_NOTES_OFF,
                    value: 0.0,
                };
                // A host without room for it has room for no note either.
                let _ = context.try_send_event(event);
            }
        }
        let settings = self.instance.params.player();
        self.player
            .process(&transport, frames, settings, panic, &mut |event| {
                context.try_send_event(note_event(event)).is_ok()
            });
        ProcessStatus::KeepAlive
    }
}

/// Waits until all that was asked for is there: a bounce must be complete.
fn wait(slot: &slot::Slot, player: &mut Player) {
    if slot.is_settled() {
        return;
    }
    slot.set_awaited(true);
    while !slot.is_settled() {
        player.receive();
        std::thread::sleep(WAIT);
    }
    slot.set_awaited(false);
}

/// The host's transport in the player's words.
fn transport(host: &Transport) -> player::Transport {
    player::Transport {
        playing: host.playing,
        position: host.pos_beats(),
        tempo: host.tempo,
        sample_rate: f64::from(host.sample_rate),
        loop_range: host.loop_range_beats(),
        bar_line: host.bar_start_pos_beats(),
        bar_length: metre(host).map(|metre| metre.bar().quarters()),
    }
}

/// What a request for music depends on.
fn song(host: &Transport) -> Option<SongBar> {
    let tempo = host.tempo.filter(|tempo| (1.0..=1000.0).contains(tempo))?;
    let micros_per_quarter = (60e6 / tempo).round() as u32;
    Some(SongBar {
        metre: metre(host).unwrap_or(Metre::COMMON),
        micros_per_quarter,
    })
}

fn metre(host: &Transport) -> Option<Metre> {
    let numerator = u8::try_from(host.time_sig_numerator?)
        .ok()
        .filter(|&beats| beats > 0)?;
    let denominator = u8::try_from(host.time_sig_denominator?).ok()?;
    denominator.is_power_of_two().then_some(Metre {
        at: Ticks(0),
        numerator,
        denominator,
    })
}

fn note_event(event: player::Event) -> NoteEvent<()> {
    let (timing, number) = (event.sample, event.channel);
    let (voice_id, channel) = (VoiceID::Wildcard, Channel::Number(number));
    match event.kind {
        EventKind::Off(pitch) => NoteEvent::NoteOff {
            timing,
            voice_id,
            channel,
            key: Key::Number(pitch),
            velocity: 0.0,
        },
        EventKind::Program(program) => NoteEvent::MidiProgramChange {
            timing,
            channel: number,
            program,
        },
        EventKind::On { pitch, velocity } => NoteEvent::NoteOn {
            timing,
            voice_id,
            channel,
            key: Key::Number(pitch),
            velocity: f32::from(velocity) / 127.0,
        },
    }
}

impl ClapPlugin for Famam {
    const CLAP_ID: &'static str = "io.famam.famam";
    const CLAP_DESCRIPTION: Option<&'static str> =
        Some("A session player: writes bars in the host's tempo with a model on this machine");
    const CLAP_MANUAL_URL: Option<&'static str> = None;
    const CLAP_SUPPORT_URL: Option<&'static str> = None;
    const CLAP_FEATURES: &'static [ClapFeature] = &[
        ClapFeature::Instrument,
        ClapFeature::NoteEffect,
        ClapFeature::Stereo,
    ];
}

impl Vst3Plugin for Famam {
    const VST3_CLASS_ID: [u8; 16] = *b"FamamSessionPlyr";
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Instrument, Vst3SubCategory::Generator];
}

nice_export_clap!(Famam);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_metre_still_says_its_tempo() {
        let mut host = Transport::new(48_000.0);
        assert_eq!(song(&host), None);
        host.tempo = Some(90.0);
        let said = song(&host).unwrap();
        assert_eq!(
            (said.metre, said.micros_per_quarter),
            (Metre::COMMON, 666_667)
        );
        (host.time_sig_numerator, host.time_sig_denominator) = (Some(7), Some(8));
        let metre = song(&host).unwrap().metre;
        assert_eq!((metre.numerator, metre.denominator), (7, 8));
    }
}
