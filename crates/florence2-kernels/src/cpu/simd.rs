//! The SIMD levels: the instruction sets that operations are compiled for, and the one in use.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::CpuLevelError;
use crate::multiply_add::MultiplyAdd;

/// A SIMD level. Its documentation lists what it adds to the level before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SimdLevel {
    /// The baseline of the architecture.
    Portable,
    /// 128-bit vectors.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Dot products of four int8 values.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// 256-bit vectors, fused multiply-add and the conversion of f16 to f32.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Dot products of four int8 values. Processors with the next levels may lack this one.
    #[cfg(target_arch = "x86_64")]
    Avx2Vnni,
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Dot products of four int8 values.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// Dot products of two bf16 values.
    #[cfg(target_arch = "x86_64")]
    Avx512Dot,
    /// Tile products of bf16 and of int8.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

/// The environment variable that names the level. It serves to run, measure or test a lower level
/// than the highest of the processor. An empty value counts as unset.
const VARIABLE: &str = "FLORENCE2_CPU_LEVEL";

/// The level in use, once the first operation or the first model has selected it.
static LEVEL: OnceLock<SimdLevel> = OnceLock::new();

/// The level that [`set_cpu_level`] named. The lock is held while the level is selected.
static REQUESTED: Mutex<Option<SimdLevel>> = Mutex::new(None);

impl SimdLevel {
    /// All levels from the lowest to the highest, with their names in [`VARIABLE`].
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

    fn name(self) -> &'static str {
        let mut names = Self::ALL.iter();
        // INVARIANT: `ALL` lists every level.
        let entry = names.find(|(level, _)| *level == self);
        entry.expect("a level of the list").1
    }

    /// Returns whether this processor supports the level.
    #[cfg(target_arch = "x86_64")]
    fn is_supported(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Portable => true,
            Self::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
            Self::Avx2Vnni => Self::Avx2.is_supported() && has!("avxvnni"),
            Self::Avx512 => {
                let parts = has!("avx512bw") && has!("avx512dq") && has!("avx512vl");
                Self::Avx2.is_supported() && has!("avx512f") && parts
            }
            Self::Avx512Vnni => Self::Avx512.is_supported() && has!("avx512vnni"),
            Self::Avx512Dot => Self::Avx512Vnni.is_supported() && has!("avx512bf16"),
            Self::Amx => Self::Avx512Dot.is_supported() && amx::is_supported(),
        }
    }

    /// Returns whether this processor supports the level.
    #[cfg(target_arch = "aarch64")]
    fn is_supported(self) -> bool {
        use std::arch::is_aarch64_feature_detected as has;
        match self {
            Self::Portable => true,
            Self::Neon => has!("neon"),
            Self::NeonDot => Self::Neon.is_supported() && has!("dotprod"),
        }
    }

    /// Returns whether this processor supports the level.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_supported(self) -> bool {
        true
    }

    /// Returns whether the operating system permits this process to use the level. The first call
    /// for AMX requests the permission, which is process-wide.
    fn is_permitted(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Amx {
            return amx::is_permitted();
        }
        true
    }
}

/// The input of [`Machine::choose`]: the processor, the operating system and the settings.
struct Machine<'a> {
    is_supported: &'a dyn Fn(SimdLevel) -> bool,
    is_permitted: &'a dyn Fn(SimdLevel) -> bool,
    requested: Option<SimdLevel>,
    variable: Option<String>,
}

impl Machine<'_> {
    /// The level that the settings name, or the highest that the processor has and the operating
    /// system permits.
    fn choose(&self) -> Result<SimdLevel, CpuLevelError> {
        let named = match (self.requested, &self.variable) {
            (Some(level), _) => Some((level, "cpu_level")),
            (None, Some(name)) => Some((self.named(name, VARIABLE)?, VARIABLE)),
            (None, None) => None,
        };
        if let Some((level, setting)) = named {
            if (self.is_permitted)(level) {
                return Ok(level);
            }
            let expected = "a level that the operating system permits to this process";
            return Err(CpuLevelError::new(setting, level.name(), expected));
        }
        let levels = SimdLevel::ALL.iter().rev().map(|(level, _)| *level);
        let mut usable =
            levels.filter(|level| (self.is_supported)(*level) && (self.is_permitted)(*level));
        Ok(usable.next().unwrap_or(SimdLevel::Portable))
    }

    /// Returns the level with a name, which this processor must have.
    fn named(&self, name: &str, setting: &'static str) -> Result<SimdLevel, CpuLevelError> {
        let known = SimdLevel::ALL.iter().find(|(_, known)| *known == name);
        if let Some((level, _)) = known
            && (self.is_supported)(*level)
        {
            return Ok(*level);
        }
        let here = Self::names_where(&|level| (self.is_supported)(level));
        let expected = match known {
            Some(_) => format!("a level of this processor: {here}"),
            None => {
                let all = Self::names_where(&|_| true);
                format!("one of {all} (this processor has {here})")
            }
        };
        Err(CpuLevelError::new(setting, name, expected))
    }

    fn names_where(keep: &dyn Fn(SimdLevel) -> bool) -> String {
        let kept = SimdLevel::ALL.iter().filter(|(level, _)| keep(*level));
        let names: Vec<&str> = kept.map(|(_, name)| *name).collect();
        names.join(", ")
    }
}

/// This machine and its settings.
fn machine(requested: Option<SimdLevel>) -> Machine<'static> {
    let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty());
    Machine {
        is_supported: &SimdLevel::is_supported,
        is_permitted: &SimdLevel::is_permitted,
        requested,
        variable: variable.map(|value| value.to_string_lossy().into_owned()),
    }
}

/// Selects the level, unless an earlier call has selected it.
pub(crate) fn select() -> Result<SimdLevel, CpuLevelError> {
    if let Some(level) = LEVEL.get() {
        return Ok(*level);
    }
    let requested = REQUESTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(level) = LEVEL.get() {
        return Ok(*level);
    }
    let chosen = machine(*requested).choose()?;
    Ok(*LEVEL.get_or_init(|| chosen))
}

/// The level in use.
pub(crate) fn simd_level() -> SimdLevel {
    match LEVEL.get() {
        Some(level) => *level,
        // INVARIANT: a model selects the level when it is built, and reports the error.
        None => select().unwrap_or_else(|error| panic!("{error}")),
    }
}

/// Sets the SIMD level of the CPU backend for the whole process: the highest instruction set that
/// its operations use.
///
/// [`cpu_levels`] lists the levels of the processor. Without a call, the environment variable
/// `FLORENCE2_CPU_LEVEL` names the level. Without the variable, the highest level of the processor
/// is used. A call overrides the variable. On x86-64 Linux, levels below `amx` do not request the
/// AMX permission, which enlarges the stack frame of signals.
///
/// # Errors
/// [`CpuLevelError`] if no level has the name, if the processor lacks the level, or if a model or
/// an operation already uses another level. Call it before the first model is loaded.
pub fn set_cpu_level(name: &str) -> Result<(), CpuLevelError> {
    let setting = "cpu_level";
    let level = machine(None).named(name, setting)?;
    let mut requested = REQUESTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(used) = LEVEL.get()
        && *used != level
    {
        let expected = format!("`{}`, which this process already uses", used.name());
        return Err(CpuLevelError::new(setting, name, expected));
    }
    *requested = Some(level);
    Ok(())
}

/// The SIMD level that the CPU backend uses. If none is in use yet, the level that the next loaded
/// model selects. The call itself selects nothing.
///
/// # Errors
/// [`CpuLevelError`] if `FLORENCE2_CPU_LEVEL` names no level of this processor.
pub fn cpu_level() -> Result<&'static str, CpuLevelError> {
    if let Some(level) = LEVEL.get() {
        return Ok(level.name());
    }
    let requested = *REQUESTED.lock().unwrap_or_else(PoisonError::into_inner);
    let machine = Machine {
        // Only the use of the level requests the permission.
        is_permitted: &|_| true,
        ..machine(requested)
    };
    machine.choose().map(SimdLevel::name)
}

/// The SIMD levels that this processor has, from the lowest to the highest.
pub fn cpu_levels() -> Vec<&'static str> {
    let levels = SimdLevel::ALL
        .iter()
        .filter(|(level, _)| level.is_supported());
    levels.map(|(_, name)| *name).collect()
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::arch::x86_64::__cpuid_count;

    /// Returns whether the processor has tile products of bf16 and int8.
    pub(crate) fn is_supported() -> bool {
        /// In EDX of leaf 7: AMX-BF16, AMX-TILE, AMX-INT8.
        const FEATURES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        // SAFETY: AVX-512 was detected before, so the instruction and its leaf 7 exist.
        #[allow(
            unsafe_code,
            unused_unsafe,
            reason = "it is safe in newer releases than the oldest supported"
        )]
        let leaf = unsafe { __cpuid_count(7, 0) };
        leaf.edx & FEATURES == FEATURES
    }

    /// Requests the permission to use the tile registers. The system saves them only for processes
    /// that have it.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_permitted() -> bool {
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

    /// The calls of other systems are not implemented.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn is_permitted() -> bool {
        false
    }
}

/// Runs plain loops compiled for the level in use. The closure and every function that it calls
/// must be inlined: `#[inline(always)]`.
#[inline(always)]
#[allow(
    unsafe_code,
    clippy::inline_always,
    reason = "it must be compiled for the level"
)]
pub(crate) fn vectorised<R>(work: impl FnOnce(MultiplyAdd) -> R) -> R {
    match simd_level() {
        SimdLevel::Portable => work(MultiplyAdd::PORTABLE),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: `simd_level` returns a level that the processor supports.
        SimdLevel::Neon | SimdLevel::NeonDot => unsafe { with_neon(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `simd_level` returns a level that the processor supports.
        SimdLevel::Avx2 | SimdLevel::Avx2Vnni => unsafe { with_avx2(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `simd_level` returns a level that the processor supports.
        SimdLevel::Avx512 | SimdLevel::Avx512Vnni | SimdLevel::Avx512Dot | SimdLevel::Amx => unsafe {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(
        has: &[SimdLevel],
        permitted: &[SimdLevel],
        requested: Option<SimdLevel>,
        variable: Option<&str>,
    ) -> Result<SimdLevel, CpuLevelError> {
        let machine = Machine {
            is_supported: &|level| has.contains(&level),
            is_permitted: &|level| permitted.contains(&level),
            requested,
            variable: variable.map(str::to_owned),
        };
        machine.choose()
    }

    fn all() -> Vec<SimdLevel> {
        SimdLevel::ALL.iter().map(|(level, _)| *level).collect()
    }

    #[test]
    fn the_highest_level_is_the_default() {
        let all = all();
        let highest = all[all.len() - 1];
        assert_eq!(choose(&all, &all, None, None), Ok(highest));
        assert_eq!(
            choose(&all[..1], &all, None, None),
            Ok(SimdLevel::Portable),
            "a processor without vectors"
        );
        let lower = all[all.len().saturating_sub(2)];
        assert_eq!(
            choose(&all, &all[..all.len().max(2) - 1], None, None),
            Ok(lower),
            "the system refuses the highest"
        );
    }

    #[test]
    fn every_level_is_run_by_its_name() {
        let all = all();
        for (level, name) in SimdLevel::ALL {
            assert_eq!(choose(&all, &all, None, Some(name)), Ok(*level));
            assert_eq!(level.name(), *name);
        }
        // A call overrides the variable, even an invalid one.
        let requested = Some(SimdLevel::Portable);
        assert_eq!(
            choose(&all, &all, requested, Some("sse9")),
            requested.ok_or_else(|| unreachable!())
        );
    }

    #[test]
    fn a_level_that_is_not_there_is_an_error() {
        let all = all();
        let (highest, name) = SimdLevel::ALL[SimdLevel::ALL.len() - 1];
        let unknown = choose(&all, &all, None, Some("avx1024")).unwrap_err();
        assert_eq!((unknown.setting, &*unknown.found), (VARIABLE, "avx1024"));
        for (_, name) in SimdLevel::ALL {
            assert!(unknown.expected.contains(name), "{unknown}");
        }
        let has: Vec<SimdLevel> = all
            .iter()
            .copied()
            .filter(|level| *level != highest)
            .collect();
        if has.is_empty() {
            return;
        }
        let missing = choose(&has, &all, None, Some(name)).unwrap_err();
        assert_eq!(missing.found, name);
        assert!(missing.expected.contains("portable"), "{missing}");
        assert!(!missing.expected.contains(name), "{missing}");
        // If the system refuses the level, no lower level is chosen instead.
        assert!(choose(&all, &has, None, Some(name)).is_err());
        assert!(choose(&all, &has, Some(highest), None).is_err());
    }
}
