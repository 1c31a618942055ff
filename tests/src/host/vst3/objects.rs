//! The objects that a VST3 host hands to the plugin: its output events, parameter changes, and a
//! stream for its state.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::ptr;

use vst3::Steinberg::Vst::{
    Event as Vst3Event, IEventList, IEventListTrait, IParamValueQueue, IParamValueQueueTrait,
    IParameterChanges, IParameterChangesTrait, ParamID, ParamValue,
};
use vst3::Steinberg::{
    IBStream, IBStream_::IStreamSeekMode_, IBStreamTrait, kInvalidArgument, kResultFalse,
    kResultOk, tresult,
};
use vst3::{Class, ComPtr, ComWrapper};

/// The plugin's output events.
pub(super) struct EventList(pub RefCell<Vec<Vst3Event>>);

impl Class for EventList {
    type Interfaces = (IEventList,);
}

impl IEventListTrait for EventList {
    unsafe fn getEventCount(&self) -> i32 {
        self.0.borrow().len() as i32
    }

    unsafe fn getEvent(&self, _: i32, _: *mut Vst3Event) -> tresult {
        kInvalidArgument
    }

    unsafe fn addEvent(&self, event: *mut Vst3Event) -> tresult {
        // SAFETY: the plugin passes an event, as the interface says.
        self.0.borrow_mut().push(unsafe { event.read() });
        kResultOk
    }
}

/// One parameter's change, at a block's first sample.
pub(super) struct Change {
    pub id: ParamID,
    pub value: ParamValue,
}

impl Class for Change {
    type Interfaces = (IParamValueQueue,);
}

impl IParamValueQueueTrait for Change {
    unsafe fn getParameterId(&self) -> ParamID {
        self.id
    }

    unsafe fn getPointCount(&self) -> i32 {
        1
    }

    unsafe fn getPoint(&self, _: i32, sample: *mut i32, value: *mut ParamValue) -> tresult {
        // SAFETY: the plugin passes places to write to, as the interface says.
        unsafe {
            sample.write(0);
            value.write(self.value);
        }
        kResultOk
    }

    unsafe fn addPoint(&self, _: i32, _: ParamValue, _: *mut i32) -> tresult {
        kResultFalse
    }
}

/// A block's changes.
pub(super) struct Changes(pub RefCell<Vec<ComPtr<IParamValueQueue>>>);

impl Class for Changes {
    type Interfaces = (IParameterChanges,);
}

impl IParameterChangesTrait for Changes {
    unsafe fn getParameterCount(&self) -> i32 {
        self.0.borrow().len() as i32
    }

    unsafe fn getParameterData(&self, index: i32) -> *mut IParamValueQueue {
        let changes = self.0.borrow();
        let change = usize::try_from(index)
            .ok()
            .and_then(|index| changes.get(index));
        change.map_or(ptr::null_mut(), ComPtr::as_ptr)
    }

    unsafe fn addParameterData(&self, _: *const ParamID, _: *mut i32) -> *mut IParamValueQueue {
        ptr::null_mut()
    }
}

/// A state in memory.
pub(super) struct Stream {
    pub bytes: RefCell<Vec<u8>>,
    at: Cell<usize>,
}

impl Stream {
    pub fn new(bytes: Vec<u8>) -> ComWrapper<Stream> {
        ComWrapper::new(Stream {
            bytes: RefCell::new(bytes),
            at: Cell::new(0),
        })
    }
}

impl Class for Stream {
    type Interfaces = (IBStream,);
}

impl IBStreamTrait for Stream {
    unsafe fn read(&self, to: *mut c_void, count: i32, read: *mut i32) -> tresult {
        let bytes = self.bytes.borrow();
        let rest = &bytes[self.at.get().min(bytes.len())..];
        let count = rest.len().min(count.max(0) as usize);
        // SAFETY: the plugin passes room for `count` bytes; `read` may be null.
        unsafe {
            ptr::copy_nonoverlapping(rest.as_ptr(), to.cast(), count);
            if let Some(read) = read.as_mut() {
                *read = count as i32;
            }
        }
        self.at.set(self.at.get() + count);
        kResultOk
    }

    unsafe fn write(&self, from: *mut c_void, count: i32, written: *mut i32) -> tresult {
        // SAFETY: the plugin passes `count` bytes; `written` may be null.
        unsafe {
            let new = std::slice::from_raw_parts(from.cast::<u8>(), count.max(0) as usize);
            self.bytes.borrow_mut().extend_from_slice(new);
            if let Some(written) = written.as_mut() {
                *written = count;
            }
        }
        kResultOk
    }

    unsafe fn seek(&self, to: i64, mode: i32, result: *mut i64) -> tresult {
        let from = match mode as u32 {
            IStreamSeekMode_::kIBSeekCur => self.at.get(),
            IStreamSeekMode_::kIBSeekEnd => self.bytes.borrow().len(),
            _ => 0,
        };
        self.at.set((from as i64 + to).max(0) as usize);
        // SAFETY: `result` is a place to write to, or null.
        if let Some(result) = unsafe { result.as_mut() } {
            *result = self.at.get() as i64;
        }
        kResultOk
    }

    unsafe fn tell(&self, at: *mut i64) -> tresult {
        // SAFETY: the plugin passes a place to write to.
        unsafe { at.write(self.at.get() as i64) };
        kResultOk
    }
}
