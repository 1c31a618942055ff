//! Which instructions a processor has, and functions that are compiled once for each kind.
//!
//! All of them compute in 16 lanes with fused products, in one order: what comes out does not depend on the kind.

use std::arch::x86_64::*;
use std::ops::{Index, IndexMut};

/// Floats side by side.
pub(super) const LANES: usize = 16;

/// As many floats as the widest register holds, where it wants them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Lanes(pub(super) [f32; LANES]);

impl Lanes {
    pub(super) const ZERO: Self = Self([0.0; LANES]);

    /// The sum of all, in pairs.
    #[inline(always)]
    pub(super) fn sum(self) -> f32 {
        self.fold(|a, b| a + b)
    }

    /// The greatest of all.
    #[inline(always)]
    pub(super) fn max(self) -> f32 {
        self.fold(f32::max)
    }

    #[inline(always)]
    fn fold(mut self, join: impl Fn(f32, f32) -> f32) -> f32 {
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                self.0[lane] = join(self.0[lane], self.0[lane + half]);
            }
        }
        self.0[0]
    }
}

impl Index<usize> for Lanes {
    type Output = f32;

    fn index(&self, lane: usize) -> &f32 {
        &self.0[lane]
    }
}

impl IndexMut<usize> for Lanes {
    fn index_mut(&mut self, lane: usize) -> &mut f32 {
        &mut self.0[lane]
    }
}

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isa {
    /// AVX2 with fused products: Intel since 2013, AMD since 2015.
    Avx2,
    /// AVX-512 with products of bytes (VNNI).
    Avx512,
}

impl Isa {
    /// This processor's, where it has one of them.
    pub(super) fn detect() -> Option<Self> {
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        let narrow = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        match (narrow, wide) {
            (true, true) => Some(Self::Avx512),
            (true, false) => Some(Self::Avx2),
            (false, _) => None,
        }
    }
}

/// As many numbers of 16 bits.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub(super) struct Halves(pub(super) [u16; LANES]);

/// 16 numbers in registers.
///
/// # Safety
/// Of all that is unsafe here: the processor has the instructions of the type.
pub(super) trait Register: Copy {
    /// All 0.
    unsafe fn zero() -> Self;
    /// From memory.
    unsafe fn load(lanes: &Lanes) -> Self;
    /// From numbers of 16 bits.
    unsafe fn widen(halves: &Halves) -> Self;
    /// `self + a * b`, rounded once.
    unsafe fn add_product(self, a: f32, b: Self) -> Self;
    /// Into memory.
    unsafe fn lanes(self) -> Lanes;
    /// In 16 bits, rounded to the nearest, ties to even.
    unsafe fn halves(self) -> Halves;
}

impl Register for __m512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load(lanes: &Lanes) -> Self {
        // SAFETY: the caller's; `Lanes` are 16 aligned floats.
        unsafe { _mm512_load_ps(lanes.0.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn widen(halves: &Halves) -> Self {
        // SAFETY: the caller's; `Halves` are 32 aligned bytes.
        unsafe { _mm512_cvtph_ps(_mm256_load_si256(halves.0.as_ptr().cast())) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: f32, b: Self) -> Self {
        // SAFETY: the caller's.
        unsafe { _mm512_fmadd_ps(_mm512_set1_ps(a), b, self) }
    }

    #[inline(always)]
    unsafe fn lanes(self) -> Lanes {
        let mut lanes = Lanes::ZERO;
        // SAFETY: as above.
        unsafe { _mm512_store_ps(lanes.0.as_mut_ptr(), self) };
        lanes
    }

    #[inline(always)]
    unsafe fn halves(self) -> Halves {
        let mut halves = Halves::default();
        // SAFETY: as above.
        unsafe {
            let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(self);
            _mm256_store_si256(halves.0.as_mut_ptr().cast(), rounded);
        }
        halves
    }
}

impl Register for [__m256; 2] {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    unsafe fn load(lanes: &Lanes) -> Self {
        let lanes = lanes.0.as_ptr();
        // SAFETY: the caller's; `Lanes` are 16 aligned floats.
        unsafe { [_mm256_load_ps(lanes), _mm256_load_ps(lanes.add(8))] }
    }

    #[inline(always)]
    unsafe fn widen(halves: &Halves) -> Self {
        let halves = halves.0.as_ptr();
        // SAFETY: the caller's; `Halves` are 32 aligned bytes.
        unsafe { [halves, halves.add(8)].map(|half| _mm256_cvtph_ps(_mm_load_si128(half.cast()))) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: f32, b: Self) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let a = _mm256_set1_ps(a);
            [
                _mm256_fmadd_ps(a, b[0], self[0]),
                _mm256_fmadd_ps(a, b[1], self[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn lanes(self) -> Lanes {
        let mut lanes = Lanes::ZERO;
        // SAFETY: as above.
        unsafe {
            _mm256_store_ps(lanes.0.as_mut_ptr(), self[0]);
            _mm256_store_ps(lanes.0.as_mut_ptr().add(8), self[1]);
        }
        lanes
    }

    #[inline(always)]
    unsafe fn halves(self) -> Halves {
        let mut halves = Halves::default();
        let (rounded, _) = halves.0.as_chunks_mut::<8>();
        for (to, half) in rounded.iter_mut().zip(self) {
            // SAFETY: as above.
            unsafe {
                let rounded = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(half);
                _mm_store_si128(to.as_mut_ptr().cast(), rounded);
            }
        }
        halves
    }
}

/// Defines functions that take an [`Isa`] first and run what is compiled for it, with the type of [`Register`] that
/// it has where they name one.
macro_rules! for_each_isa {
    ($($(#[$doc:meta])* $visibility:vis fn $name:ident $(<$sums:ident $(, const $size:ident: usize)?>)? ($($arg:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        $(#[$doc])*
        $visibility fn $name $($(<const $size: usize>)?)? (isa: $crate::engine::native::isa::Isa, $($arg: $type),*) {
            #[inline(always)]
            fn body $(<$sums: $crate::engine::native::isa::Register $(, const $size: usize)?>)? ($($arg: $type),*) $body
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
            fn wide $($(<const $size: usize>)?)? ($($arg: $type),*) {
                body $(::<std::arch::x86_64::__m512 $(, $size)?>)? ($($arg),*)
            }
            #[target_feature(enable = "avx2,fma,f16c")]
            fn narrow $($(<const $size: usize>)?)? ($($arg: $type),*) {
                body $(::<[std::arch::x86_64::__m256; 2] $(, $size)?>)? ($($arg),*)
            }
            match isa {
                // SAFETY: an `Isa` is had by `Isa::detect` alone, on a processor that has what its name says.
                $crate::engine::native::isa::Isa::Avx512 => unsafe { wide $($(::<$size>)?)? ($($arg),*) },
                // SAFETY: as above.
                $crate::engine::native::isa::Isa::Avx2 => unsafe { narrow $($(::<$size>)?)? ($($arg),*) },
            }
        }
    )*};
}
pub(super) use for_each_isa;
