//! The host's CLAP side.

use std::ffi::CString;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clack_extensions::params::{
    HostParams, HostParamsImplMainThread, HostParamsImplShared, ParamClearFlags, ParamInfoBuffer,
    ParamInfoFlags, ParamRescanFlags, PluginParams,
};
use clack_extensions::render::{PluginRender, RenderMode};
use clack_extensions::state::{HostState, HostStateImpl, PluginState};
use clack_host::events::event_types::{ParamValueEvent, TransportEvent, TransportFlags};
use clack_host::events::spaces::CoreEventSpace;
use clack_host::events::{EventFlags, Match};
use clack_host::prelude::*;
use clack_host::utils::{BeatTime, SecondsTime};

use super::{
    ALL_NOTES_OFF, Around, Block, Event, EventKind, Host, HostError, Parameter, ParameterId,
    Transport,
};

/// More events than a block of the longest size brings, so that the host's own list never grows
/// while the plugin writes into it.
const EVENTS: usize = 1 << 14;
const CHANNELS: usize = 2;

struct Shared {
    callback: AtomicBool,
}

impl SharedHandler<'_> for Shared {
    fn request_restart(&self) {}
    fn request_process(&self) {}
    fn request_callback(&self) {
        self.callback.store(true, Ordering::Release);
    }
}

impl HostParamsImplShared for Shared {
    fn request_flush(&self) {}
}

struct MainThread;

impl MainThreadHandler<'_> for MainThread {}

impl HostParamsImplMainThread for MainThread {
    fn rescan(&self, _: ParamRescanFlags) {}
    fn clear(&self, _: ClapId, _: ParamClearFlags) {}
}

impl HostStateImpl for MainThread {
    fn mark_dirty(&self) {}
}

struct Handlers;

impl HostHandlers for Handlers {
    type Shared<'a> = Shared;
    type MainThread<'a> = MainThread;
    type AudioProcessor<'a> = ();

    fn declare_extensions(builder: &mut HostExtensions<Self>, _: &Shared) {
        builder.register::<HostParams>().register::<HostState>();
    }
}

/// An instance of the plugin as CLAP.
pub struct ClapHost {
    processor: Option<StartedPluginAudioProcessor<Handlers>>,
    instance: PluginInstance<Handlers>,
    parameters: PluginParams,
    state: PluginState,
    render: PluginRender,
    input: EventBuffer,
    output: EventBuffer,
    audio: [Vec<f32>; CHANNELS],
}

impl ClapHost {
    /// Loads the first plugin of `library` and makes an instance of it.
    pub fn open(library: &Path) -> Result<ClapHost, HostError> {
        let failed = |why: String| HostError::Load {
            path: library.to_owned(),
            format: "CLAP",
            why,
        };
        // SAFETY: the caller names a plugin; loading one runs its code, which is the purpose.
        let entry =
            unsafe { PluginEntry::load(library) }.map_err(|error| failed(error.to_string()))?;
        let factory = entry
            .get_plugin_factory()
            .ok_or_else(|| failed("it has no plugin factory".into()))?;
        let id = factory
            .plugin_descriptors()
            .find_map(|descriptor| descriptor.id())
            .ok_or_else(|| failed("it names no plugin".into()))?;
        let host = HostInfo::new("Famam tests", "Famam", "", env!("CARGO_PKG_VERSION"))
            .map_err(|error| failed(error.to_string()))?;
        let mut instance = PluginInstance::<Handlers>::new(
            |()| Shared {
                callback: AtomicBool::new(false),
            },
            |_| MainThread,
            &entry,
            id,
            &host,
        )
        .map_err(|error| failed(error.to_string()))?;
        let missing = |name: &str| failed(format!("it lacks CLAP's extension {name}"));
        let plugin = instance.plugin_handle();
        Ok(ClapHost {
            processor: None,
            parameters: plugin.get_extension().ok_or_else(|| missing("params"))?,
            state: plugin.get_extension().ok_or_else(|| missing("state"))?,
            render: plugin.get_extension().ok_or_else(|| missing("render"))?,
            instance,
            input: EventBuffer::with_capacity(EVENTS),
            output: EventBuffer::with_capacity(EVENTS),
            audio: [Vec::new(), Vec::new()],
        })
    }
}

impl ClapHost {
    /// Puts parameter changes into the input.
    fn take(&mut self, changes: &[(ParameterId, f64)]) {
        self.input.clear();
        for &(parameter, value) in changes {
            let change = ParamValueEvent::new(0, clap_id(parameter), Pckn::match_all(), value);
            self.input.push(&change);
        }
    }
}

fn transport_event(transport: &Transport) -> TransportEvent {
    let mut flags = TransportFlags::HAS_TEMPO
        | TransportFlags::HAS_BEATS_TIMELINE
        | TransportFlags::HAS_TIME_SIGNATURE;
    flags.set(TransportFlags::IS_PLAYING, transport.playing);
    flags.set(
        TransportFlags::IS_LOOP_ACTIVE,
        transport.loop_range.is_some(),
    );
    let (loop_start, loop_end) = transport.loop_range.unwrap_or_default();
    let nowhen = SecondsTime::from_int(0);
    TransportEvent {
        header: EventHeader::new_core(0, EventFlags::empty()),
        flags,
        song_pos_beats: BeatTime::from_float(transport.quarters),
        song_pos_seconds: nowhen,
        tempo: transport.tempo,
        tempo_inc: 0.0,
        loop_start_beats: BeatTime::from_float(loop_start),
        loop_end_beats: BeatTime::from_float(loop_end),
        loop_start_seconds: nowhen,
        loop_end_seconds: nowhen,
        bar_start: BeatTime::from_float(transport.bar_start),
        bar_number: transport.bar,
        time_signature_numerator: transport.metre.0,
        time_signature_denominator: transport.metre.1,
    }
}

/// What an event says, or `None` where it is none that the tests look at.
fn event(event: &UnknownEvent) -> Option<Event> {
    let specific = |part: Match<u16>| part.into_specific().and_then(|n| u8::try_from(n).ok());
    let sample = event.header().time();
    match event.as_core_event()? {
        CoreEventSpace::NoteOn(note) => Some(Event {
            sample,
            channel: specific(note.channel())?,
            kind: EventKind::On {
                key: specific(note.key())?,
                velocity: (note.velocity() * 127.0).round() as u8,
            },
        }),
        CoreEventSpace::NoteOff(note) => Some(Event {
            sample,
            channel: specific(note.channel())?,
            kind: EventKind::Off {
                key: specific(note.key())?,
            },
        }),
        CoreEventSpace::Midi(midi) => {
            let [status, number, _] = midi.data();
            let kind = match status & 0xf0 {
                0xb0 if number == ALL_NOTES_OFF => EventKind::AllNotesOff,
                0xc0 => EventKind::Program(number),
                _ => return None,
            };
            Some(Event {
                sample,
                channel: status & 0xf,
                kind,
            })
        }
        _ => None,
    }
}

fn clap_id(parameter: ParameterId) -> ClapId {
    ClapId::new(parameter.0)
}

impl Host for ClapHost {
    fn set(&mut self, changes: &[(ParameterId, f64)]) -> Result<(), HostError> {
        self.take(changes);
        let mut plugin = self
            .instance
            .inactive_plugin_handle()
            .ok_or_else(|| HostError::refused("set parameters while it is active"))?;
        let mut output = self.output.as_output();
        self.parameters
            .flush(&mut plugin, &self.input.as_input(), &mut output);
        Ok(())
    }

    fn activate(&mut self, sample_rate: f64, max_frames: u32) -> Result<(), HostError> {
        self.deactivate();
        let configuration = PluginAudioConfiguration {
            sample_rate,
            min_frames_count: 1,
            max_frames_count: max_frames,
        };
        self.audio = [(); CHANNELS].map(|()| vec![0.0; max_frames as usize]);
        let processor = self
            .instance
            .activate(|_, _| (), configuration)
            .map_err(|error| HostError::refused(format!("activate: {error}")))?;
        let started = processor
            .start_processing()
            .map_err(|_| HostError::refused("start processing"))?;
        self.processor = Some(started);
        Ok(())
    }

    fn deactivate(&mut self) {
        if let Some(processor) = self.processor.take() {
            self.instance.deactivate(processor.stop_processing());
        }
    }

    fn set_offline(&mut self, offline: bool) -> Result<(), HostError> {
        let mode = if offline {
            RenderMode::Offline
        } else {
            RenderMode::Realtime
        };
        self.render
            .set(&self.instance.plugin_handle(), mode)
            .map_err(|error| HostError::refused(format!("render offline: {error}")))
    }

    fn process_around(
        &mut self,
        block: &Block,
        events: &mut Vec<Event>,
        around: Around<'_>,
    ) -> Result<(), HostError> {
        self.take(&block.changes);
        let processor = self
            .processor
            .as_mut()
            .ok_or_else(|| HostError::refused("process before activate"))?;
        self.output.clear();
        let transport = transport_event(&block.transport);
        let mut ports = AudioPorts::with_capacity(CHANNELS, 1);
        let channels = self
            .audio
            .iter_mut()
            .map(|channel| &mut channel[..block.frames as usize]);
        let mut audio = ports.with_output_buffers([AudioPortBuffer {
            latency: 0,
            channels: AudioPortBufferType::f32_output_only(channels),
        }]);
        // SAFETY: there are no buffers. (An empty collection would say that it has no frames.)
        let silence = unsafe { InputAudioBuffers::from_raw_buffers(&[], block.frames) };
        let input = self.input.as_input();
        let mut output = self.output.as_output();
        let mut done = Ok(ProcessStatus::Continue);
        around(&mut || {
            done = processor.process(
                &silence,
                &mut audio,
                &input,
                &mut output,
                None,
                Some(&transport),
            );
        });
        done.map_err(|error| HostError::refused(format!("process: {error}")))?;
        events.extend(self.output.iter().filter_map(event));
        Ok(())
    }

    fn parameters(&mut self) -> Result<Vec<Parameter>, HostError> {
        let plugin = self.instance.plugin_handle();
        let mut told = ParamInfoBuffer::new();
        let one = |index| {
            let info = self.parameters.get_info(&plugin, index, &mut told)?;
            let text = |value| {
                let mut buffer = [0; 256];
                let text = self
                    .parameters
                    .value_to_text(&plugin, info.id, value, &mut buffer);
                text.ok()
                    .map(|text| String::from_utf8_lossy(text).into_owned())
            };
            let (low, high) = (info.min_value, info.max_value);
            let stepped = info.flags.contains(ParamInfoFlags::IS_STEPPED);
            Some(Parameter {
                id: ParameterId(info.id.get()),
                name: String::from_utf8_lossy(info.name).into_owned(),
                steps: if stepped { (high - low) as u32 } else { 0 },
                texts: [text(low)?, text(info.default_value)?, text(high)?],
                // CLAP has none but what the texts say.
                unit: String::new(),
            })
        };
        let all = (0..self.parameters.count(&plugin)).map(one);
        all.collect::<Option<_>>()
            .ok_or_else(|| HostError::refused("describe its parameters"))
    }

    fn value(&mut self, parameter: ParameterId, text: &str) -> Result<f64, HostError> {
        CString::new(text)
            .ok()
            .and_then(|text| {
                let plugin = self.instance.plugin_handle();
                self.parameters
                    .text_to_value(&plugin, clap_id(parameter), &text)
            })
            .ok_or_else(|| HostError::refused(format!("understand {text} as {parameter:?}")))
    }

    fn text(&mut self, parameter: ParameterId) -> Result<String, HostError> {
        let plugin = self.instance.plugin_handle();
        let id = clap_id(parameter);
        let mut buffer = [0; 256];
        self.parameters
            .get_value(&plugin, id)
            .and_then(|value| {
                self.parameters
                    .value_to_text(&plugin, id, value, &mut buffer)
                    .ok()
            })
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .ok_or_else(|| HostError::refused(format!("say what {parameter:?} is")))
    }

    fn save(&mut self) -> Result<Vec<u8>, HostError> {
        let mut bytes = Vec::new();
        self.state
            .save(&self.instance.plugin_handle(), &mut bytes)
            .map_err(|error| HostError::refused(format!("save: {error}")))?;
        Ok(bytes)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HostError> {
        self.state
            .load(&self.instance.plugin_handle(), &mut Cursor::new(state))
            .map_err(|error| HostError::refused(format!("load: {error}")))
    }

    fn pump(&mut self) {
        let asked = self
            .instance
            .access_shared_handler(|shared| shared.callback.swap(false, Ordering::AcqRel));
        if asked {
            self.instance.call_on_main_thread_callback();
        }
    }
}

impl Drop for ClapHost {
    fn drop(&mut self) {
        self.deactivate();
    }
}
