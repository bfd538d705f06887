// SPDX-License-Identifier: GPL-2.0
//! What the Rust sources of the corpus share. For arm64 there is no core library on most machines:
//! here is as much of one as they need.

#[cfg(target_arch = "aarch64")]
mod core {
    #[lang = "pointee_sized"]
    pub trait PointeeSized {}
    #[lang = "meta_sized"]
    pub trait MetaSized: PointeeSized {}
    #[lang = "sized"]
    pub trait Sized: MetaSized {}
    #[lang = "copy"]
    pub trait Copy {}
    impl Copy for i32 {}
    #[lang = "freeze"]
    unsafe auto trait Freeze {}
    #[lang = "sync"]
    unsafe auto trait Sync {}
    #[lang = "legacy_receiver"]
    trait LegacyReceiver {}
    impl<T: PointeeSized> LegacyReceiver for &T {}
    impl<T: PointeeSized> LegacyReceiver for &mut T {}
    #[lang = "unsize"]
    trait Unsize<T: PointeeSized>: PointeeSized {}
    #[lang = "coerce_unsized"]
    trait CoerceUnsized<T> {}
    impl<'a, 'b: 'a, T: PointeeSized + Unsize<U>, U: PointeeSized> CoerceUnsized<&'a U> for &'b T {}
    impl<'a, T: PointeeSized + Unsize<U>, U: PointeeSized> CoerceUnsized<&'a mut U> for &'a mut T {}
    #[lang = "dispatch_from_dyn"]
    trait DispatchFromDyn<T> {}
    impl<'a, T: PointeeSized + Unsize<U>, U: PointeeSized> DispatchFromDyn<&'a U> for &'a T {}
    impl<'a, T: PointeeSized + Unsize<U>, U: PointeeSized> DispatchFromDyn<&'a mut U> for &'a mut T {}
    #[lang = "tuple_trait"]
    pub trait Tuple {}
    #[lang = "fn_once"]
    pub trait FnOnce<Arguments: Tuple> {
        #[lang = "fn_once_output"]
        type Output;
        extern "rust-call" fn call_once(self, arguments: Arguments) -> Self::Output;
    }
    #[lang = "fn_mut"]
    pub trait FnMut<Arguments: Tuple>: FnOnce<Arguments> {
        extern "rust-call" fn call_mut(&mut self, arguments: Arguments) -> Self::Output;
    }
    #[lang = "fn"]
    pub trait Fn<Arguments: Tuple>: FnMut<Arguments> {
        extern "rust-call" fn call(&self, arguments: Arguments) -> Self::Output;
    }
    #[lang = "drop_in_place"]
    unsafe fn drop_in_place<T: PointeeSized>(_: *mut T) {}
}
#[cfg(target_arch = "aarch64")]
pub use self::core::*;

extern "C" {
    pub fn consume(number: i32) -> i32;
    pub fn _printk(format: &[u8; 8]) -> i32;
}
