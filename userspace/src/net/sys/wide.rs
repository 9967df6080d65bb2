//! Code compiled for vectors that not every processor of the architecture has.

use ringtun_common::checksum::Sum;

/// [`Sum::of`], compiled for AVX2 where the processor has it.
#[cfg(target_arch = "x86_64")]
pub(in crate::net) fn wide_sum(data: &[u8]) -> Sum {
    #[target_feature(enable = "avx2")]
    fn with_avx2(data: &[u8]) -> Sum {
        Sum::of(data)
    }
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor was just asked for AVX2.
        unsafe { with_avx2(data) }
    } else {
        Sum::of(data)
    }
}

/// [`Sum::of`]: on arm64 its vectors are there in any case.
#[cfg(not(target_arch = "x86_64"))]
pub(in crate::net) fn wide_sum(data: &[u8]) -> Sum {
    Sum::of(data)
}
