//! What a run computes on.
//!
//! The trainer is linked against libtorch without its part for CUDA, so that one program runs on
//! machines with and without a GPU; that part is loaded when a GPU is asked for, before the first tensor.

use libloading::Library;
use tch::{Cuda, Device};

use crate::config::training::Precision;

/// NVIDIA's driver.
const DRIVER: &str = if cfg!(windows) {
    "nvcuda.dll"
} else {
    "libcuda.so.1"
};
/// libtorch's part for CUDA, beside the rest of it.
const LIBTORCH_CUDA: &str = if cfg!(windows) {
    "torch_cuda.dll"
} else {
    "libtorch_cuda.so"
};

/// What `--device` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// A CUDA GPU where there is one, the processor otherwise.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A CUDA GPU, of several ranks one each.
    Cuda,
    /// The GPU of a Mac (untested).
    Mps,
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No CUDA.
    #[error(
        "--device cuda: {why}. It takes NVIDIA's driver and the libtorch of PyTorch 2.11.0 for CUDA 13.0 with the \
         CUDA libraries that it names (`pip install torch==2.11.0`; set LIBTORCH to its folder `torch` and build \
         the trainer again); --device cpu trains without a GPU"
    )]
    Cuda {
        /// What is missing.
        why: String,
    },
    /// No Metal.
    #[error(
        "--device mps: this libtorch has no Metal, which only a Mac's has; --device cpu trains without a GPU"
    )]
    Mps,
}

/// What a run computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Where weights are.
    pub device: Device,
    /// Threads that compute gradients: 1 where a GPU does.
    pub threads: usize,
}

impl From<usize> for Machine {
    /// So many threads of the processor.
    fn from(threads: usize) -> Self {
        Self {
            device: Device::Cpu,
            threads,
        }
    }
}

impl Choice {
    /// The machine for this choice, with `threads` on the processor, or the GPU that falls to process
    /// `rank` of several.
    ///
    /// # Errors
    /// Where the device is not there.
    pub fn open(self, threads: usize, rank: usize) -> Result<Machine, Error> {
        let gpu = |device| Machine { device, threads: 1 };
        let cuda = || gpu(Device::Cuda(rank % Cuda::device_count().max(1) as usize));
        match self {
            Self::Cpu => Ok(threads.into()),
            Self::Cuda => match load_cuda() {
                Ok(()) => Ok(cuda()),
                Err(why) => Err(Error::Cuda { why }),
            },
            Self::Mps if tch::utils::has_mps() => Ok(gpu(Device::Mps)),
            Self::Mps => Err(Error::Mps),
            Self::Auto if driver().is_err() => Ok(threads.into()),
            Self::Auto => match load_cuda() {
                Ok(()) => Ok(cuda()),
                Err(why) => {
                    eprintln!("note: trained on the processor, not on the GPU: {why}");
                    Ok(threads.into())
                }
            },
        }
    }
}

/// Makes CUDA known to libtorch; what is missing otherwise.
fn load_cuda() -> Result<(), String> {
    driver().map_err(|error| format!("NVIDIA's driver is not there ({error})"))?;
    // SAFETY: libtorch's own library, whose initialisers register its kernels; it stays loaded.
    let torch = unsafe { Library::new(LIBTORCH_CUDA) };
    let torch =
        torch.map_err(|error| format!("libtorch's part for CUDA does not load ({error})"))?;
    std::mem::forget(torch);
    if Cuda::is_available() {
        Ok(())
    } else {
        Err("libtorch finds no GPU that it can use".to_owned())
    }
}

fn driver() -> Result<(), libloading::Error> {
    // SAFETY: the driver's library; it stays loaded.
    std::mem::forget(unsafe { Library::new(DRIVER) }?);
    Ok(())
}

impl Precision {
    /// What is meant on a device.
    pub fn on(self, device: Device) -> Self {
        match self {
            Self::Auto if device.is_cuda() => Self::Bf16,
            Self::Auto => Self::Fp32,
            said => said,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_refused_with_a_sentence_and_not_taken_by_itself() {
        assert_eq!(Choice::Cpu.open(3, 0).unwrap(), 3.into());
        let cuda = Choice::Cuda.open(3, 0);
        match Choice::Auto.open(3, 0).unwrap() {
            Machine {
                device: Device::Cpu,
                threads,
            } => {
                assert_eq!(threads, 3);
                let error = cuda.unwrap_err().to_string();
                for part in ["--device cuda: ", "LIBTORCH", "--device cpu"] {
                    assert!(error.contains(part), "{error}");
                }
            }
            gpu => assert_eq!(gpu, cuda.unwrap()),
        }
        if !cfg!(target_os = "macos") {
            let error = Choice::Mps.open(3, 0).unwrap_err().to_string();
            assert!(error.contains("--device cpu"), "{error}");
        }
    }

    #[test]
    fn products_are_in_bfloat16_on_a_gpu_unless_the_config_says_otherwise() {
        let (cpu, gpu) = (Device::Cpu, Device::Cuda(0));
        assert_eq!(Precision::Auto.on(cpu), Precision::Fp32);
        assert_eq!(Precision::Auto.on(gpu), Precision::Bf16);
        for said in [Precision::Fp32, Precision::Bf16] {
            assert_eq!([said.on(cpu), said.on(gpu)], [said, said]);
        }
    }
}
