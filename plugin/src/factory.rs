//! The VST3 entry points: what `nice_export_vst3!` would write, with one repair.
//!
//! nice-plug 0.4.2 tells the plugin the process mode of the *last but one* `setupProcessing`: a
//! bounce would look live, and playing after it like a bounce, in which a player waits. So each
//! object that the factory makes calls `setupProcessing` twice.

use std::ffi::c_void;
use std::sync::OnceLock;

use nih_plug::wrapper::setup_logger;
use nih_plug::wrapper::vst3::vst3::Steinberg::Vst::{
    IAudioProcessor, IAudioProcessorVtbl, ProcessSetup,
};
use nih_plug::wrapper::vst3::vst3::Steinberg::{
    FIDString, FUnknown, IPluginFactory, IPluginFactory2, IPluginFactory2Trait, IPluginFactory3,
    IPluginFactory3Trait, IPluginFactoryTrait, PClassInfo, PClassInfo2, PClassInfoW, PFactoryInfo,
    TUID, int32, kInternalError, kInvalidArgument, kResultOk, tresult,
};
use nih_plug::wrapper::vst3::vst3::{Class, ComWrapper};
use nih_plug::wrapper::vst3::{PluginInfo, Wrapper};

use crate::Famam;

/// A host's way to the plugin.
struct Factory(PluginInfo);

impl Class for Factory {
    type Interfaces = (IPluginFactory, IPluginFactory2, IPluginFactory3);
}

/// `setupProcessing` as nice-plug has it.
static SET_UP: OnceLock<
    unsafe extern "system" fn(*mut IAudioProcessor, *mut ProcessSetup) -> tresult,
> = OnceLock::new();
/// nice-plug's functions of an audio processor, with [`set_up_twice`] among them.
static FUNCTIONS: OnceLock<IAudioProcessorVtbl> = OnceLock::new();

unsafe extern "system" fn set_up_twice(
    this: *mut IAudioProcessor,
    setup: *mut ProcessSetup,
) -> tresult {
    let Some(set_up) = SET_UP.get() else {
        return kInternalError;
    };
    // SAFETY: the arguments are the host's, for the very function that it means to call.
    unsafe {
        set_up(this, setup);
        set_up(this, setup)
    }
}

/// A new instance, not yet known to anybody.
fn instance() -> ComWrapper<Wrapper<Famam>> {
    let instance = ComWrapper::new(Wrapper::<Famam>::new());
    if let Some(processor) = instance.as_com_ref::<IAudioProcessor>() {
        let processor = processor.as_ptr();
        // SAFETY: an interface is a pointer to a pointer to its functions, which are plain data; the
        // object was made here, and nobody else has it yet.
        unsafe {
            let functions = FUNCTIONS.get_or_init(|| {
                let mut functions = std::ptr::read((*processor).vtbl);
                SET_UP.get_or_init(|| functions.setupProcessing);
                functions.setupProcessing = set_up_twice;
                functions
            });
            (*processor).vtbl = functions;
        }
    }
    instance
}

impl Factory {
    /// Lets `fill` write what the host asks of the only class.
    unsafe fn tell<T>(
        &self,
        index: int32,
        info: *mut T,
        fill: impl Fn(&PluginInfo) -> T,
    ) -> tresult {
        if index != 0 || info.is_null() {
            return kInvalidArgument;
        }
        // SAFETY: the host gives room for what it asks.
        unsafe { info.write(fill(&self.0)) };
        kResultOk
    }
}

impl IPluginFactoryTrait for Factory {
    unsafe fn getFactoryInfo(&self, info: *mut PFactoryInfo) -> tresult {
        // SAFETY: as the caller's.
        unsafe { self.tell(0, info, PluginInfo::create_factory_info) }
    }

    unsafe fn countClasses(&self) -> int32 {
        1
    }

    unsafe fn getClassInfo(&self, index: int32, info: *mut PClassInfo) -> tresult {
        // SAFETY: as the caller's.
        unsafe { self.tell(index, info, PluginInfo::create_class_info) }
    }

    unsafe fn createInstance(
        &self,
        class: FIDString,
        interface: FIDString,
        object: *mut *mut c_void,
    ) -> tresult {
        if class.is_null() || interface.is_null() || object.is_null() {
            return kInvalidArgument;
        }
        // SAFETY: VST3 gives ids as 16 bytes.
        if unsafe { &*class.cast::<[u8; 16]>() } != self.0.cid {
            return kInvalidArgument;
        }
        let instance = instance();
        let Some(unknown) = instance.as_com_ref::<FUnknown>() else {
            return kInternalError;
        };
        let unknown = unknown.as_ptr();
        // SAFETY: `unknown` lives as long as `instance`; the rest is the host's.
        unsafe { ((*(*unknown).vtbl).queryInterface)(unknown, interface.cast::<TUID>(), object) }
    }
}

impl IPluginFactory2Trait for Factory {
    unsafe fn getClassInfo2(&self, index: int32, info: *mut PClassInfo2) -> tresult {
        // SAFETY: as the caller's.
        unsafe { self.tell(index, info, PluginInfo::create_class_info_2) }
    }
}

impl IPluginFactory3Trait for Factory {
    unsafe fn getClassInfoUnicode(&self, index: int32, info: *mut PClassInfoW) -> tresult {
        // SAFETY: as the caller's.
        unsafe { self.tell(index, info, PluginInfo::create_class_info_unicode) }
    }

    unsafe fn setHostContext(&self, _context: *mut FUnknown) -> tresult {
        kResultOk
    }
}

/// Where a host begins.
#[unsafe(no_mangle)]
extern "system" fn GetPluginFactory() -> *mut c_void {
    let factory = ComWrapper::new(Factory(PluginInfo::for_plugin::<Famam>()));
    factory
        .to_com_ptr::<IPluginFactory>()
        .map_or(std::ptr::null_mut(), |it| it.into_raw().cast())
}

/// The library was loaded (Linux).
#[cfg(all(target_family = "unix", not(target_os = "macos")))]
#[unsafe(no_mangle)]
extern "C" fn ModuleEntry(_library: *mut c_void) -> bool {
    setup_logger::<Famam>();
    true
}

/// The library will be unloaded (Linux).
#[cfg(all(target_family = "unix", not(target_os = "macos")))]
#[unsafe(no_mangle)]
extern "C" fn ModuleExit() -> bool {
    true
}

/// The library was loaded (macOS).
#[cfg(target_os = "macos")]
#[unsafe(no_mangle)]
extern "C" fn bundleEntry(_bundle: *mut c_void) -> bool {
    setup_logger::<Famam>();
    true
}

/// The library will be unloaded (macOS).
#[cfg(target_os = "macos")]
#[unsafe(no_mangle)]
extern "C" fn bundleExit() -> bool {
    true
}

/// The library was loaded (Windows).
#[cfg(target_os = "windows")]
#[unsafe(no_mangle)]
extern "system" fn InitDll() -> bool {
    setup_logger::<Famam>();
    true
}

/// The library will be unloaded (Windows).
#[cfg(target_os = "windows")]
#[unsafe(no_mangle)]
extern "system" fn ExitDll() -> bool {
    true
}
