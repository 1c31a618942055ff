//! The host's VST3 side.

use std::cell::RefCell;
use std::ffi::c_void;
use std::path::Path;
use std::ptr;

use vst3::Steinberg::Vst::Event_::EventTypes_::{
    kLegacyMIDICCOutEvent, kNoteOffEvent, kNoteOnEvent,
};
use vst3::Steinberg::Vst::ProcessContext_::StatesAndFlags_::{
    kBarPositionValid, kCycleActive, kCycleValid, kPlaying, kProjectTimeMusicValid, kTempoValid,
    kTimeSigValid,
};
use vst3::Steinberg::Vst::{
    AudioBusBuffers, AudioBusBuffers__type0, Event as Vst3Event, IAudioProcessor,
    IAudioProcessorTrait, IComponent, IComponentTrait, IEditController, IEditControllerTrait,
    IEventList, IParameterChanges, ParameterInfo, ProcessContext, ProcessData, ProcessModes_,
    ProcessSetup, String128, SymbolicSampleSizes_,
};
use vst3::Steinberg::{
    IBStream, IPluginBaseTrait, IPluginFactory, IPluginFactoryTrait, PClassInfo, kResultFalse,
    kResultOk, tresult,
};
use vst3::{ComPtr, ComWrapper, Interface};

mod objects;

use objects::{Change, Changes, EventList, Stream};

use super::{
    ALL_NOTES_OFF, Around, Block, Event, EventKind, Host, HostError, Parameter, ParameterId,
    Transport,
};

/// More events than a block of the longest size brings, so that the host's own list never grows
/// while the plugin writes into it.
const EVENTS: usize = 1 << 14;
const CHANNELS: usize = 2;
/// VST3's number for a program change among its legacy controllers.
const PROGRAM_CHANGE: u8 = 130;

/// An instance of the plugin as VST3.
pub struct Vst3Host {
    component: ComPtr<IComponent>,
    processor: ComPtr<IAudioProcessor>,
    controller: ComPtr<IEditController>,
    sample_rate: f64,
    mode: i32,
    active: bool,
    /// Samples since the first block: the clock that never jumps.
    clock: i64,
    output: ComWrapper<EventList>,
    changes: ComWrapper<Changes>,
    audio: [Vec<f32>; CHANNELS],
}

impl Vst3Host {
    /// Loads the first class of `library` and makes an instance of it.
    pub fn open(library: &Path) -> Result<Vst3Host, HostError> {
        let failed = |why: &str| HostError::Load {
            path: library.to_owned(),
            format: "VST3",
            why: why.to_owned(),
        };
        // SAFETY: the caller names a plugin; loading one runs its code, which is the purpose.
        let module = unsafe { libloading::Library::new(library) }
            .map_err(|error| failed(&error.to_string()))?;
        // A plugin's worker threads may outlive its instances, so its code stays.
        let module: &'static libloading::Library = Box::leak(Box::new(module));
        // SAFETY: these are the types that VST3 gives the two functions.
        let factory = unsafe {
            if let Ok(enter) = module.get::<extern "system" fn(*mut c_void) -> bool>(b"ModuleEntry")
            {
                enter(ptr::null_mut());
            }
            let get = module
                .get::<extern "system" fn() -> *mut IPluginFactory>(b"GetPluginFactory")
                .map_err(|error| failed(&error.to_string()))?;
            ComPtr::from_raw(get()).ok_or_else(|| failed("it has no factory"))?
        };
        // SAFETY: plain calls of the interfaces with places of the right type to write to; the
        // instance that comes back is an owned IComponent, as asked for.
        unsafe {
            let mut class: PClassInfo = std::mem::zeroed();
            if factory.getClassInfo(0, &mut class) != kResultOk {
                return Err(failed("it names no class"));
            }
            let mut component: *mut IComponent = ptr::null_mut();
            let id = IComponent::IID.as_ptr().cast();
            factory.createInstance(class.cid.as_ptr(), id, (&raw mut component).cast());
            let component =
                ComPtr::from_raw(component).ok_or_else(|| failed("it makes no component"))?;
            if component.initialize(ptr::null_mut()) != kResultOk {
                return Err(failed("its component does not initialize"));
            }
            Ok(Vst3Host {
                processor: component
                    .cast()
                    .ok_or_else(|| failed("it is no audio processor"))?,
                controller: component
                    .cast()
                    .ok_or_else(|| failed("it has no controller"))?,
                component,
                sample_rate: 0.0,
                mode: ProcessModes_::kRealtime as i32,
                active: false,
                clock: 0,
                output: ComWrapper::new(EventList(RefCell::new(Vec::with_capacity(EVENTS)))),
                changes: ComWrapper::new(Changes(RefCell::new(Vec::new()))),
                audio: [Vec::new(), Vec::new()],
            })
        }
    }

    fn context(&self, transport: &Transport) -> ProcessContext {
        let mut state = kTempoValid | kTimeSigValid | kProjectTimeMusicValid | kBarPositionValid;
        if transport.playing {
            state |= kPlaying;
        }
        if transport.loop_range.is_some() {
            state |= kCycleActive | kCycleValid;
        }
        let (cycle_start, cycle_end) = transport.loop_range.unwrap_or_default();
        // SAFETY: all of it is numbers.
        let context: ProcessContext = unsafe { std::mem::zeroed() };
        let seconds = transport.quarters * 60.0 / transport.tempo;
        ProcessContext {
            state,
            sampleRate: self.sample_rate,
            projectTimeSamples: (seconds * self.sample_rate).round() as i64,
            continousTimeSamples: self.clock,
            projectTimeMusic: transport.quarters,
            barPositionMusic: transport.bar_start,
            cycleStartMusic: cycle_start,
            cycleEndMusic: cycle_end,
            tempo: transport.tempo,
            timeSigNumerator: i32::from(transport.metre.0),
            timeSigDenominator: i32::from(transport.metre.1),
            ..context
        }
    }
}

/// What an event says, or `None` where it is none that the tests look at.
fn event(event: &Vst3Event) -> Option<Event> {
    let sample = u32::try_from(event.sampleOffset).ok()?;
    // SAFETY: the tag says which of the union's members was written; all are numbers.
    let (channel, kind) = unsafe {
        match u32::from(event.r#type) {
            t if t == kNoteOnEvent => {
                let note = event.__field0.noteOn;
                let velocity = (note.velocity * 127.0).round() as u8;
                (
                    note.channel,
                    EventKind::On {
                        key: note.pitch.try_into().ok()?,
                        velocity,
                    },
                )
            }
            t if t == kNoteOffEvent => {
                let note = event.__field0.noteOff;
                (
                    note.channel,
                    EventKind::Off {
                        key: note.pitch.try_into().ok()?,
                    },
                )
            }
            t if t == kLegacyMIDICCOutEvent => {
                let control = event.__field0.midiCCOut;
                let kind = match control.controlNumber {
                    PROGRAM_CHANGE => EventKind::Program(control.value.try_into().ok()?),
                    ALL_NOTES_OFF => EventKind::AllNotesOff,
                    _ => return None,
                };
                (i16::from(control.channel), kind)
            }
            _ => return None,
        }
    };
    Some(Event {
        sample,
        channel: channel.try_into().ok()?,
        kind,
    })
}

fn accepted(result: tresult, what: &str) -> Result<(), HostError> {
    if result == kResultOk {
        Ok(())
    } else {
        Err(HostError::refused(what))
    }
}

fn narrow(wide: &String128) -> String {
    let text: Vec<u16> = wide.iter().copied().take_while(|&unit| unit != 0).collect();
    String::from_utf16_lossy(&text)
}

impl Vst3Host {
    fn text_of(&self, parameter: ParameterId, value: f64) -> Result<String, HostError> {
        let mut wide: String128 = [0; 128];
        // SAFETY: a place of the right size to write to.
        let result = unsafe {
            self.controller
                .getParamStringByValue(parameter.0, value, &mut wide)
        };
        accepted(result, &format!("say what {parameter:?} is"))?;
        Ok(narrow(&wide))
    }
}

impl Host for Vst3Host {
    fn set(&mut self, changes: &[(ParameterId, f64)]) -> Result<(), HostError> {
        changes.iter().try_for_each(|&(parameter, value)| {
            // SAFETY: a plain call.
            let result = unsafe { self.controller.setParamNormalized(parameter.0, value) };
            accepted(result, &format!("set {parameter:?}"))
        })
    }

    fn activate(&mut self, sample_rate: f64, max_frames: u32) -> Result<(), HostError> {
        self.deactivate();
        self.sample_rate = sample_rate;
        self.audio = [(); CHANNELS].map(|()| vec![0.0; max_frames as usize]);
        let mut setup = ProcessSetup {
            processMode: self.mode,
            symbolicSampleSize: SymbolicSampleSizes_::kSample32 as i32,
            maxSamplesPerBlock: max_frames as i32,
            sampleRate: sample_rate,
        };
        // SAFETY: plain calls, in the order that VST3 prescribes.
        unsafe {
            accepted(self.processor.setupProcessing(&mut setup), "be set up")?;
            accepted(self.component.setActive(1), "activate")?;
            self.active = true;
            accepted(self.processor.setProcessing(1), "start processing")
        }
    }

    fn deactivate(&mut self) {
        if std::mem::take(&mut self.active) {
            // SAFETY: plain calls, in the order that VST3 prescribes.
            unsafe {
                self.processor.setProcessing(0);
                self.component.setActive(0);
            }
        }
    }

    fn set_offline(&mut self, offline: bool) -> Result<(), HostError> {
        self.mode = (if offline {
            ProcessModes_::kOffline
        } else {
            ProcessModes_::kRealtime
        }) as i32;
        Ok(())
    }

    fn process_around(
        &mut self,
        block: &Block,
        events: &mut Vec<Event>,
        around: Around<'_>,
    ) -> Result<(), HostError> {
        *self.changes.0.borrow_mut() = block
            .changes
            .iter()
            .filter_map(|&(id, value)| ComWrapper::new(Change { id: id.0, value }).to_com_ptr())
            .collect();
        self.output.0.borrow_mut().clear();
        let mut context = self.context(&block.transport);
        let mut channels = self.audio.each_mut().map(|channel| channel.as_mut_ptr());
        let mut bus = AudioBusBuffers {
            numChannels: CHANNELS as i32,
            silenceFlags: 0,
            __field0: AudioBusBuffers__type0 {
                channelBuffers32: channels.as_mut_ptr(),
            },
        };
        let changes = self.changes.to_com_ptr::<IParameterChanges>();
        let output = self.output.to_com_ptr::<IEventList>();
        let mut data = ProcessData {
            processMode: self.mode,
            symbolicSampleSize: SymbolicSampleSizes_::kSample32 as i32,
            numSamples: block.frames as i32,
            numInputs: 0,
            numOutputs: 1,
            inputs: ptr::null_mut(),
            outputs: &mut bus,
            inputParameterChanges: changes.as_ref().map_or(ptr::null_mut(), ComPtr::as_ptr),
            outputParameterChanges: ptr::null_mut(),
            inputEvents: ptr::null_mut(),
            outputEvents: output.as_ref().map_or(ptr::null_mut(), ComPtr::as_ptr),
            processContext: &mut context,
        };
        let mut done = kResultFalse;
        around(&mut || {
            // SAFETY: all that `data` points to lives until the end of this function.
            done = unsafe { self.processor.process(&mut data) };
        });
        accepted(done, "process")?;
        self.clock += i64::from(block.frames);
        events.extend(self.output.0.borrow().iter().filter_map(event));
        Ok(())
    }

    fn value(&mut self, parameter: ParameterId, text: &str) -> Result<f64, HostError> {
        let mut wide: Vec<u16> = text.encode_utf16().chain([0]).collect();
        let mut value = 0.0;
        // SAFETY: a text that ends with 0, and a place to write to.
        let result = unsafe {
            self.controller
                .getParamValueByString(parameter.0, wide.as_mut_ptr().cast(), &mut value)
        };
        accepted(result, &format!("understand {text} as {parameter:?}"))?;
        Ok(value)
    }

    fn parameters(&mut self) -> Result<Vec<Parameter>, HostError> {
        // SAFETY: a plain call.
        let count = unsafe { self.controller.getParameterCount() };
        let one = |index| {
            // SAFETY: all of it is numbers, and a place of the right type to write to.
            let (info, result) = unsafe {
                let mut info: ParameterInfo = std::mem::zeroed();
                let result = self.controller.getParameterInfo(index, &mut info);
                (info, result)
            };
            accepted(result, "describe its parameters")?;
            let id = ParameterId(info.id);
            Ok(Parameter {
                id,
                name: narrow(&info.title),
                steps: info.stepCount as u32,
                texts: [
                    self.text_of(id, 0.0)?,
                    self.text_of(id, info.defaultNormalizedValue)?,
                    self.text_of(id, 1.0)?,
                ],
                unit: narrow(&info.units),
            })
        };
        (0..count).map(one).collect()
    }

    fn text(&mut self, parameter: ParameterId) -> Result<String, HostError> {
        // SAFETY: a plain call.
        let value = unsafe { self.controller.getParamNormalized(parameter.0) };
        self.text_of(parameter, value)
    }

    fn save(&mut self) -> Result<Vec<u8>, HostError> {
        let stream = Stream::new(Vec::new());
        let pointer = stream.to_com_ptr::<IBStream>();
        // SAFETY: the stream lives through the call.
        let result = unsafe {
            self.component
                .getState(pointer.as_ref().map_or(ptr::null_mut(), ComPtr::as_ptr))
        };
        accepted(result, "save")?;
        Ok(stream.bytes.take())
    }

    fn load(&mut self, state: &[u8]) -> Result<(), HostError> {
        let stream = Stream::new(state.to_vec());
        let pointer = stream.to_com_ptr::<IBStream>();
        // SAFETY: the stream lives through the call.
        let result = unsafe {
            self.component
                .setState(pointer.as_ref().map_or(ptr::null_mut(), ComPtr::as_ptr))
        };
        accepted(result, "load")
    }

    fn pump(&mut self) {}
}

impl Drop for Vst3Host {
    fn drop(&mut self) {
        self.deactivate();
        // SAFETY: the last call before the component is released.
        unsafe { self.component.terminate() };
    }
}
