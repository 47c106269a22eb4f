//! Loops that are written once and compiled for vector registers of every width.
//!
//! They go over arrays, which the compiler puts into registers; the processor that runs them decides
//! which (`pulp` chooses at run time, without unsafe code here).

use pulp::{Arch, Simd, WithSimd};

/// Values in the widest vector register that is made use of.
pub(super) const WIDEST: usize = 16;

/// A loop that is written once for registers of any width.
pub(super) trait Kernel {
    /// The loop over `W` values at a time.
    fn lanes<const W: usize>(self);
}

/// A kernel for the registers of this processor.
struct Widest<K>(K);

impl<K: Kernel> WithSimd for Widest<K> {
    type Output = ();

    // inlined, so that the loop is compiled with the instructions that were found
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match S::F32_LANES {
            WIDEST.. => self.0.lanes::<WIDEST>(),
            8.. => self.0.lanes::<8>(),
            _ => self.0.lanes::<4>(),
        }
    }
}

#[inline(always)]
pub(super) fn run(kernel: impl Kernel) {
    Arch::new().dispatch(Widest(kernel));
}

/// All lanes through `f`; a loop over an array, so that the compiler sees one vector instruction.
#[inline(always)]
pub(super) fn zip<const W: usize>(
    left: [f32; W],
    right: [f32; W],
    f: impl Fn(f32, f32) -> f32,
) -> [f32; W] {
    let mut out = [0.0; W];
    for lane in 0..W {
        out[lane] = f(left[lane], right[lane]);
    }
    out
}

/// Values before the first one of `all` that stands at the start of a register's place in memory:
/// a register that is loaded across two lines costs as much as two.
#[inline(always)]
pub(super) fn unaligned<const W: usize>(all: &[i32]) -> usize {
    let head = all.as_ptr().align_offset(W * size_of::<i32>());
    head.min(all.len())
}
