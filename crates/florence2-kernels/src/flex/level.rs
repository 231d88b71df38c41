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
    /// Vectors of 256 bits, fused multiplication and addition, and f16 as f32.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Vectors of 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Dot products of pairs of bf16 and of quads of int8.
    #[cfg(target_arch = "x86_64")]
    Avx512Dot,
    /// Products of tiles of bf16 and of int8.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

/// Names a lower level than the machine's, to measure or to test that one: `portable`, `neon`,
/// `avx2`, `avx512`, `avx512-dot`.
const VARIABLE: &str = "FLORENCE2_CPU_LEVEL";

/// The level that runs: what the machine has, or less when the environment says so. Asked once.
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wanted = std::env::var(VARIABLE).ok();
        wanted
            .as_deref()
            .and_then(named)
            .map_or_else(detected, |wanted| wanted.min(detected()))
    })
}

fn named(name: &str) -> Option<Level> {
    match name {
        "portable" => Some(Level::Portable),
        #[cfg(target_arch = "aarch64")]
        "neon" => Some(Level::Neon),
        #[cfg(target_arch = "x86_64")]
        "avx2" => Some(Level::Avx2),
        #[cfg(target_arch = "x86_64")]
        "avx512" => Some(Level::Avx512),
        #[cfg(target_arch = "x86_64")]
        "avx512-dot" => Some(Level::Avx512Dot),
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Level {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    let avx512 =
        avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
    let dot = avx512 && has!("avx512bf16") && has!("avx512vnni");
    if dot && amx::is_there() {
        Level::Amx
    } else if dot {
        Level::Avx512Dot
    } else if avx512 {
        Level::Avx512
    } else if avx2 {
        Level::Avx2
    } else {
        Level::Portable
    }
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::x86_64::__cpuid_count;

    /// Whether there are tiles of bf16 and int8, and the system lets this process use them.
    pub(super) fn is_there() -> bool {
        /// In EDX of leaf 7: bf16, tiles, int8.
        const FEATURES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        // SAFETY: AVX-512 was found, and so the instruction and its leaf 7 are there.
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

#[cfg(target_arch = "aarch64")]
fn detected() -> Level {
    match std::arch::is_aarch64_feature_detected!("neon") {
        true => Level::Neon,
        false => Level::Portable,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detected() -> Level {
    Level::Portable
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
        Level::Neon => unsafe { with_neon(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { with_avx2(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 | Level::Avx512Dot | Level::Amx => unsafe { with_avx512(work) },
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
