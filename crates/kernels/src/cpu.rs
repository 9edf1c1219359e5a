//! What the machine can do, found once, and the one door from plain code into vector code.
//!
//! A [`Cpu`] is a proof: the variant for an instruction set is only ever made after the machine was
//! asked for every feature of it. [`Cpu::run`] enters a [`Kernel`], written once over [`Isa`], with
//! those features switched on. Left out: the operations themselves (`isa/`).

use crate::isa::{Isa, Scalar};
#[cfg(target_arch = "x86_64")]
use crate::isa::{avx2::Avx2, avx512::Avx512};

/// Instruction-set levels, lowest first. The order is that of speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Plain Rust, whatever the machine.
    Portable,
    /// Eight lanes of 32 bits: AVX2, FMA and F16C.
    Avx2,
    /// Sixteen lanes and byte dot products: AVX-512 F, BW, VL and VNNI, besides [`Level::Avx2`].
    Avx512Vnni,
}

#[derive(Clone, Copy)]
enum Token {
    Scalar8(Scalar<8>),
    /// The layout of sixteen lanes in plain Rust, so that it is tested on every machine.
    #[cfg(test)]
    Scalar16(Scalar<16>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// The vector instructions this machine has, or a lower level chosen for tests and benchmarks.
#[derive(Clone, Copy)]
pub struct Cpu {
    token: Token,
}

impl Cpu {
    /// The best level of this machine.
    pub fn detect() -> Self {
        Self::with_level(Level::Avx512Vnni)
    }

    /// Plain Rust kernels, on any machine.
    pub fn portable() -> Self {
        Self { token: Token::Scalar8(Scalar) }
    }

    /// The best level of this machine that is not above `level`.
    pub fn with_level(level: Level) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if level >= Level::Avx512Vnni
                && let Some(token) = Avx512::detect()
            {
                return Self { token: Token::Avx512(token) };
            }
            if level >= Level::Avx2
                && let Some(token) = Avx2::detect()
            {
                return Self { token: Token::Avx2(token) };
            }
        }
        let _ = level;
        Self::portable()
    }

    /// Every level of this machine, lowest first.
    pub fn all() -> Vec<Self> {
        let mut cpus = vec![Self::portable()];
        for level in [Level::Avx2, Level::Avx512Vnni] {
            let cpu = Self::with_level(level);
            if cpu.level() == level {
                cpus.push(cpu);
            }
        }
        cpus
    }

    #[cfg(test)]
    pub(crate) fn portable16() -> Self {
        Self { token: Token::Scalar16(Scalar) }
    }

    /// The level in force.
    pub fn level(self) -> Level {
        match self.token {
            Token::Scalar8(_) => Level::Portable,
            #[cfg(test)]
            Token::Scalar16(_) => Level::Portable,
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(_) => Level::Avx2,
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(_) => Level::Avx512Vnni,
        }
    }

    /// The field's name for the level in force, for `hearth doctor`.
    pub fn name(self) -> &'static str {
        match self.level() {
            Level::Portable => "portable",
            Level::Avx2 => "AVX2 FMA F16C",
            Level::Avx512Vnni => "AVX-512 VNNI",
        }
    }

    /// f32 lanes of a vector.
    pub(crate) fn lanes(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;
            fn run<I: Isa>(self, _isa: I) -> usize {
                I::LANES
            }
        }
        self.run(Lanes)
    }

    /// Runs `kernel` with the instructions of this level switched on.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.token {
            Token::Scalar8(isa) => kernel.run(isa),
            #[cfg(test)]
            Token::Scalar16(isa) => kernel.run(isa),
            #[cfg(target_arch = "x86_64")]
            Token::Avx2(isa) => isa.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Token::Avx512(isa) => isa.enter(kernel),
        }
    }
}

impl std::fmt::Debug for Cpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cpu({}, {} lanes)", self.name(), self.lanes())
    }
}

/// Work written once for every instruction set. `run` and all it calls down to the operations of
/// `isa` must be `#[inline(always)]`, and holds no closures in hot loops: only code inlined into
/// the door is compiled with the instruction set switched on.
pub(crate) trait Kernel {
    /// What the work gives back.
    type Output;
    /// Does the work.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_capped_and_named() {
        assert_eq!(Cpu::with_level(Level::Portable).level(), Level::Portable);
        assert_eq!(Cpu::portable().name(), "portable");
        assert_eq!((Cpu::portable().lanes(), Cpu::portable16().lanes()), (8, 16));
        let all = Cpu::all();
        assert_eq!(all.last().unwrap().level(), Cpu::detect().level());
        assert!(all.windows(2).all(|pair| pair[0].level() < pair[1].level()));
    }
}
