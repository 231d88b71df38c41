//! The instruction sets that operations are compiled for, and the one that this machine has.

use std::sync::OnceLock;

use crate::multiply_add::MultiplyAdd;

/// An instruction set, and what it adds to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What every machine of this architecture has.
    Portable,
    /// ARM's vectors of 128 bits.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Dot products of quads of int8.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// Vectors of 256 bits, fused multiplication and addition, and f16 as f32.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Dot products of quads of int8, which not every machine has that has what follows.
    #[cfg(target_arch = "x86_64")]
    Avx2Vnni,
    /// Vectors of 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Dot products of quads of int8.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// Dot products of pairs of bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Dot,
    /// Products of tiles of bf16 and of int8.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

/// Names the highest level that is to run, to measure or to test a lower one than the machine's.
const VARIABLE: &str = "FLORENCE2_CPU_LEVEL";

impl Level {
    /// From the lowest to the highest, as [`VARIABLE`] names them.
    const ALL: &[(Self, &str)] = &[
        (Self::Portable, "portable"),
        #[cfg(target_arch = "aarch64")]
        (Self::Neon, "neon"),
        #[cfg(target_arch = "aarch64")]
        (Self::NeonDot, "neon-dot"),
        #[cfg(target_arch = "x86_64")]
        (Self::Avx2, "avx2"),
        #[cfg(target_arch = "x86_64")]
        (Self::Avx2Vnni, "avx2-vnni"),
        #[cfg(target_arch = "x86_64")]
        (Self::Avx512, "avx512"),
        #[cfg(target_arch = "x86_64")]
        (Self::Avx512Vnni, "avx512-vnni"),
        #[cfg(target_arch = "x86_64")]
        (Self::Avx512Dot, "avx512-dot"),
        #[cfg(target_arch = "x86_64")]
        (Self::Amx, "amx"),
    ];

    /// Whether this machine has it.
    #[cfg(target_arch = "x86_64")]
    fn is_there(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Portable => true,
            Self::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
            Self::Avx2Vnni => Self::Avx2.is_there() && has!("avxvnni"),
            Self::Avx512 => {
                let parts = has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                Self::Avx2.is_there() && has!("avx512f") && parts
            }
            Self::Avx512Vnni => Self::Avx512.is_there() && has!("avx512vnni"),
            Self::Avx512Dot => Self::Avx512Vnni.is_there() && has!("avx512bf16"),
            Self::Amx => Self::Avx512Dot.is_there() && amx::is_there(),
        }
    }

    /// Whether this machine has it.
    #[cfg(target_arch = "aarch64")]
    fn is_there(self) -> bool {
        use std::arch::is_aarch64_feature_detected as has;
        match self {
            Self::Portable => true,
            Self::Neon => has!("neon"),
            Self::NeonDot => Self::Neon.is_there() && has!("dotprod"),
        }
    }

    /// Whether this machine has it.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_there(self) -> bool {
        true
    }
}

/// The level that runs: the highest that the machine has, and the environment allows. Asked once.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).ok();
        let named = Level::ALL
            .iter()
            .position(|(_, name)| Some(*name) == wanted.as_deref());
        let allowed = &Level::ALL[..=named.unwrap_or(Level::ALL.len() - 1)];
        let highest = allowed.iter().rev().find(|(level, _)| level.is_there());
        highest.map_or(Level::Portable, |(level, _)| *level)
    })
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::x86_64::__cpuid_count;

    /// Whether there are tiles of bf16 and int8, and the system lets this process use them.
    pub(super) fn is_there() -> bool {
        /// In EDX of leaf 7: bf16, tiles, int8.
        const FEATURES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        // SAFETY: AVX-512 was found before, and so the instruction and its leaf 7 are there.
        #[allow(
            unsafe_code,
            unused_unsafe,
            reason = "it is safe in newer releases than the oldest supported"
        )]
        let leaf = unsafe { __cpuid_count(7, 0) };
        leaf.edx & FEATURES == FEATURES && permitted()
    }

    /// Asks the system for the tiles' registers, which it saves only for those who ask.
    #[cfg(target_os = "linux")]
    fn permitted() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: the call reads two numbers, and changes only what this process may use.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::syscall(
                libc::SYS_arch_prctl,
                ARCH_REQ_XCOMP_PERM,
                XFEATURE_XTILEDATA,
            )
        };
        result == 0
    }

    /// Elsewhere it is not known how.
    #[cfg(not(target_os = "linux"))]
    fn permitted() -> bool {
        false
    }
}

/// Runs plain loops compiled for this machine's level. What `work` calls must be inlined, as the
/// closure itself must: `#[inline(always)]`.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for the level"
)]
pub(super) fn vectorised<R>(work: impl FnOnce(MultiplyAdd) -> R) -> R {
    match level() {
        Level::Portable => work(MultiplyAdd::PORTABLE),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `level` gives what the machine was seen to have, or less.
        Level::Neon | Level::NeonDot => unsafe { with_neon(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 | Level::Avx2Vnni => unsafe { with_avx2(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 | Level::Avx512Vnni | Level::Avx512Dot | Level::Amx => unsafe {
            with_avx512(work)
        },
    }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn with_neon<R>(work: impl FnOnce(MultiplyAdd) -> R) -> R {
    work(MultiplyAdd::FUSED)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(work: impl FnOnce(MultiplyAdd) -> R) -> R {
    work(MultiplyAdd::FUSED)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<R>(work: impl FnOnce(MultiplyAdd) -> R) -> R {
    work(MultiplyAdd::FUSED)
}
